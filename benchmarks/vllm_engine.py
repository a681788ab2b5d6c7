"""vLLM behind two pipes, for benchmarks/rollouts.py. Runs in the environment of requirements-vllm.txt.

A line of requests in, ``[[number, ids, tokens to write], …]``, new ones only; a line of results out, ``[[number, ids],
…]``, at least one, as soon as any is there. Between lines nothing runs.
"""

import json
import os
import sys

MODEL, THREADS, SLOTS, DTYPE = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "4",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": THREADS,
}
# What vLLM prints goes to the terminal; the pipe is for results alone.
results = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

from vllm import EngineArgs, LLMEngine, SamplingParams  # noqa: E402


def main() -> None:
    engine = LLMEngine.from_engine_args(
        EngineArgs(
            model=MODEL, dtype=DTYPE, max_model_len=1024, max_num_seqs=SLOTS, enable_prefix_caching=True,
            disable_log_stats=True, seed=0,
        )
    )  # fmt: skip
    print("[]", file=results, flush=True)
    for line in sys.stdin:
        for number, ids, count in json.loads(line):
            sampling = SamplingParams(
                temperature=1.0, top_p=1.0, top_k=0, max_tokens=count, min_tokens=count, ignore_eos=True,
                detokenize=False, logprobs=0,
            )  # fmt: skip
            engine.add_request(str(number), {"prompt_token_ids": ids}, sampling)
        finished: list[tuple[int, list[int]]] = []
        while not finished:
            finished = [
                (int(output.request_id), list(output.outputs[0].token_ids))
                for output in engine.step()
                if output.finished
            ]
        print(json.dumps(finished), file=results, flush=True)


if __name__ == "__main__":
    main()
