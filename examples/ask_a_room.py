"""Ask the embedded model about a drawn room. Runs on a CPU in seconds: python examples/ask_a_room.py"""

from dataclasses import replace

import sdvlm
from sdvlm.demo.room import make_demo_view

model, processor = sdvlm.load_model("nano")
view = make_demo_view()
questions = [sample.question for sample in view.questions]
with_depth = sdvlm.ask(model, processor, view.frame, questions)
without = sdvlm.ask(model, processor, replace(view.frame, depth=None), questions)
for sample, seeing, blind in zip(view.questions, with_depth, without, strict=True):
    print(f"{sample.question}\n  truth {sample.answer} | with depth {seeing.answer} | without {blind.answer}")
