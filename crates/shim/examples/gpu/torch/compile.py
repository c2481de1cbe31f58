"""What torch.compile makes, in a slice; where the machine lacks a compiler, that is said."""

import json

import torch


def say(what, ok, detail=""):
    print(json.dumps({"what": what, "ok": ok, "detail": str(detail)}), flush=True)


def main():
    torch.manual_seed(7)
    model = torch.nn.Sequential(
        torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256)
    ).cuda()
    given = torch.randn(64, 256, device="cuda")
    plain = model(given)
    for mode in ["default", "reduce-overhead"]:
        what = f"torch.compile, mode {mode}, gives what the model gives"
        try:
            compiled = torch.compile(model, mode=mode)
            for _ in range(4):
                result = compiled(given)
            off = (result - plain).abs().max().item()
        except Exception as error:
            said = repr(error)
            lacks = any(word in said for word in ["Triton", "triton", "gcc", "compiler"])
            # Without a compiler it is no finding about the slice.
            say(what, None if lacks else False, said[-300:])
            continue
        say(what, off < 1e-2, f"{off} apart")


main()
