"""A sampler's process that goes on with the old weights of a tied head, as vLLM does by itself."""

import os

from piplay.engine.vllm import serve
from piplay.engine.vllm.messages import Settings

if __name__ == "__main__":
    os.environ.update(serve.environment(1, "cpu"))
    from piplay.engine.vllm.transfer import SharedFile

    SharedFile._pack_tied_head = lambda self: None  # type: ignore[method-assign]
    assert Settings
    serve.main()
