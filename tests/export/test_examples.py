from pipeline.export.dataset import ExportBox
from pipeline.export.examples import order_boxes


def test_boxes_come_by_class_then_from_top_to_bottom_then_from_left_to_right():
    places = [(1, 50, 0), (0, 50, 9), (0, 10, 80), (0, 50, 2), (1, 2, 3)]
    boxes = [ExportBox(x, y, x + 5, y + 5, "label", class_id) for class_id, y, x in places]
    assert [(box.class_id, box.y0, box.x0) for box in order_boxes(boxes)] == sorted(places)
