"""The methods that make maps, by name. Settings are checked with these, so nothing heavy is imported here."""

from typing import Literal, get_args

# of the forward pass alone: the same whatever the label is
ForwardMethod = Literal["rollout", "article", "attention", "rollout-norm"]
# with a backward pass: they explain a label
BackwardMethod = Literal["relevance", "legrad", "libragrad"]
Method = Literal[ForwardMethod, BackwardMethod]

FORWARD: tuple[ForwardMethod, ...] = get_args(ForwardMethod)
BACKWARD: tuple[BackwardMethod, ...] = get_args(BackwardMethod)
