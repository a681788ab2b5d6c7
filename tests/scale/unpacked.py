"""A sampler's process that goes on with the old weights of a tied head, as vLLM does by itself."""

from piplay.engine.vllm import serve

if __name__ == "__main__":
    from piplay.engine.vllm.transfer import SharedFile

    SharedFile._pack_tied_head = lambda self: None  # type: ignore[method-assign]
    serve.main()
