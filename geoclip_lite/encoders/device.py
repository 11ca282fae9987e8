"""Where an encoder computes."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def usable_device(device: torch.device | str | None = None) -> torch.device:
    """The device of this name, tried out; None takes the best.

    Raises:
        ValueError: torch knows no such device, or this machine has none.
    """
    if device is None:
        return best_device()
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # a torch built without CUDA asserts
        raise ValueError(
            f"device: {str(device)!r} cannot be used here ({str(error).splitlines()[0]}); "
            f"the best that can is '{best_device()}', and None takes it"
        ) from error
