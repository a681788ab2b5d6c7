"""Whole weights into a running vLLM: the worker's end of a transfer through a file in shared memory.

vLLM loads them layer by layer, as it loads a checkpoint, into the tensors that it has.
"""

from __future__ import annotations

from dataclasses import dataclass

from safetensors.torch import load_file
from vllm.distributed.weight_transfer import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from piplay.engine.child import end_with_parent

BACKEND = "piplay_shm"


@dataclass
class Opened(WeightTransferInitInfo):  # type: ignore[misc]
    """There is nothing to agree on."""


@dataclass
class Given(WeightTransferUpdateInfo):  # type: ignore[misc]
    """A version of a policy's weights."""

    path: str
    """A safetensors file of all of the model's weights, under Hugging Face's names."""


class SharedFile(WeightTransferEngine[Opened, Given]):  # type: ignore[misc]
    """Loads all weights from a file."""

    init_info_cls, update_info_cls = Opened, Given

    def init_transfer_engine(self, init_info: Opened) -> None:
        pass

    def start_weight_update(self) -> None:
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: Given) -> None:
        self.model.load_weights(iter(load_file(update_info.path).items()))

    def finish_weight_update(self) -> None:
        finalize_layerwise_reload(self.model, self.model_config)
        self._pack_tied_head()

    def _pack_tied_head(self) -> None:
        """Make what a CPU multiplies by, a packed copy, of the head's weights again.

        The reload does so for every layer that has weights of its own. A tied head has none, and would go on with the
        old ones.
        """
        head = getattr(self.model, "lm_head", None)
        if head is not None and self.model_config.hf_text_config.tie_word_embeddings:
            head.quant_method.process_weights_after_loading(head)

    def shutdown(self) -> None:
        pass


class Worker:
    """Named to vLLM as an extension of its workers: a process that it starts for a GPU loads this file by it."""


end_with_parent()
WeightTransferEngineFactory.register_engine(BACKEND, SharedFile)
