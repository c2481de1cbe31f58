"""What torch sees of a slice's memory, and what it says when there is no more.

Run as `memory.py LIMIT_BYTES`. Each finding is a line of JSON; `ok` says whether it holds.
"""

import json
import sys

import torch

LIMIT = int(sys.argv[1])


def say(what, ok, detail=""):
    print(json.dumps({"what": what, "ok": bool(ok), "detail": str(detail)}), flush=True)


def main():
    card = torch.device("cuda:0")
    free, total = torch.cuda.mem_get_info(card)
    say("torch.cuda.mem_get_info shows the limit", total == LIMIT, f"{total} bytes")
    say("no more is free than the limit", free <= LIMIT, f"{free} bytes")
    properties = torch.cuda.get_device_properties(card)
    say("the card's memory is the limit", properties.total_memory == LIMIT, properties.total_memory)

    held = []
    chunk = LIMIT // 32
    try:
        # One that nothing holds is stopped soon after.
        while len(held) < 40:
            held.append(torch.empty(chunk, dtype=torch.uint8, device=card).fill_(1))
        say("more than the limit is refused", False, f"{len(held)} pieces of {chunk} bytes")
    except torch.cuda.OutOfMemoryError as error:
        say("what is refused is torch.cuda.OutOfMemoryError", True)
        say("torch's own message names the limit's memory", "CUDA out of memory" in str(error), error)
    except Exception as error:
        say("what is refused is torch.cuda.OutOfMemoryError", False, repr(error))
    part = len(held) / 32
    say("nine tenths of the limit could be had", 0.9 <= part <= 1.0, f"{part:.3f} of it")
    reserved = torch.cuda.memory_reserved(card)
    say("torch reserved no more than the limit", reserved <= LIMIT, f"{reserved} bytes")

    held.clear()
    torch.cuda.empty_cache()
    again = torch.ones(1024, device=card).sum().item()
    say("after that it works as before", again == 1024.0, again)


main()
