"""A tiny Florence-2 made on the spot: its own processor, a tokenizer trained on the answers, random weights."""

import tokenizers
import torch
import transformers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

BINS = 1000
_SIDE = 64  # pixels of the input
_PHOTO_TOKENS = 5  # 2 x 2 patches, and their mean
_SPREAD = 0.12  # standard deviation of the random weights
_LEARNING_RATE = 3e-3
_PARSED = ("pure_text", "description_with_bboxes", "phrase_grounding")


def make_tokenizer(texts):
    """Train a byte-level tokenizer with Florence-2's special tokens on these texts."""
    words = tokenizers.Tokenizer(tokenizers.models.BPE())
    words.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = tokenizers.decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<image>", *(f"<loc_{each}>" for each in range(BINS))]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=specials,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(texts, trainer)
    ends = [(token, words.token_to_id(token)) for token in ("<s>", "</s>")]
    words.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )


def make_processor(texts, banned=()):
    """Make the processor of a tiny Florence-2.

    Args:
        texts: prompts and answers the tokenizer should know.
        banned: phrases never grounded.
    """
    parsing = {name: {} for name in _PARSED} | {"phrase_grounding": {"banned_grounding_tokens": list(banned)}}
    photos = CLIPImageProcessorPil(size={"height": _SIDE, "width": _SIDE}, do_center_crop=False)
    photos.image_seq_length = _PHOTO_TOKENS
    return transformers.Florence2Processor(photos, make_tokenizer(texts), post_processor_config=parsing)


def make_model(processor):
    """Make a random model of 0.4 million parameters for the processor."""
    torch.manual_seed(0)
    tokenizer = processor.tokenizer
    vision = transformers.Florence2VisionConfig(
        depths=(1, 1, 1, 1),
        embed_dim=(16, 32, 32, 64),
        num_heads=(1, 2, 2, 4),
        num_groups=(1, 2, 2, 4),
        window_size=4,
        projection_dim=64,
        drop_path_rate=0.0,
    )
    text = transformers.BartConfig(
        vocab_size=len(tokenizer),
        d_model=64,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=128,
        dropout=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    config = transformers.Florence2Config(
        text_config=text.to_dict(), vision_config=vision.to_dict(), image_token_id=tokenizer.image_token_id
    )
    model = transformers.Florence2ForConditionalGeneration(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:  # as initialised, 0.02, a model this small never looks at the picture
                weights.normal_(0, _SPREAD)
    return model


def train_model(model, processor, pictures, lines, steps):
    """Train on the lines of an annotations.jsonl, as the export's README says; return the last loss."""
    inputs = processor(images=pictures, text=[line["prefix"] for line in lines], return_tensors="pt", padding=True)
    labels = processor.tokenizer([line["suffix"] for line in lines], return_tensors="pt", padding=True).input_ids
    labels[labels == processor.tokenizer.pad_token_id] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.2)
    model.train()
    for _ in range(steps):
        loss = model(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return float(loss.detach())


def detect_boxes(model, processor, picture, task="<OD>"):
    """Return labels and boxes generated for one picture."""
    model.eval()
    inputs = processor(images=picture, text=task, return_tensors="pt")
    with torch.no_grad():
        tokens = model.generate(**inputs, max_new_tokens=40, do_sample=False)
    text = processor.batch_decode(tokens, skip_special_tokens=False)[0]
    answer = processor.post_process_generation(text, task=task, image_size=picture.size)[task]
    return answer["labels"], answer["bboxes"]
