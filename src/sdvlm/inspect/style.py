"""What the inspection page adds to the common style sheet, and its one script: choose a family, hide the rest."""

__all__ = ["SCRIPT", "STYLE_MORE"]

STYLE_MORE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 0.8rem; margin: 1.6rem 0 0; }
.tile, .card {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 0.75rem 1rem; min-width: 0;
}
.tile b { display: block; font-size: 1.5rem; letter-spacing: -0.01em; font-variant-numeric: tabular-nums; }
.tile span, .soft { color: var(--soft); font-size: 0.85rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 1rem; }
.cards, .twin { align-items: start; }
.card h3 { margin: 0 0 0.15rem; font-size: 1rem; }
.card p { margin: 0 0 0.6rem; }
.chart, .grid { display: block; width: 100%; max-width: 400px; height: auto; fill: var(--mark); }
.grid { max-width: 220px; }
.chart line { stroke: var(--line); }
.chart text { fill: var(--soft); font-size: 12px; }
.bars th { min-width: 0; width: 1%; white-space: nowrap; max-width: 15rem; overflow: hidden; text-overflow: ellipsis; }
.bars th, .bars td { border: 0; padding: 0.14rem 0.6rem 0.14rem 0; min-width: 0; font-size: 0.88rem; line-height: 1.3; }
.bars th, .bars td { vertical-align: middle; }
.bars td.bar { width: 60%; min-width: 40px; }
.bars td.bar span { display: block; height: 0.7rem; border-radius: 2px; background: var(--mark); min-width: 1px; }
.number { text-align: right; white-space: nowrap; width: 1%; }
.twin { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 1rem; }
.filters { position: sticky; top: 0; background: var(--paper); padding: 0.7rem 0; z-index: 1; }
.filters { display: flex; gap: 0.4rem; flex-wrap: wrap; align-items: center; border-bottom: 1px solid var(--line); }
button {
  font: inherit; font-size: 0.85rem; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: 99px; padding: 0.2rem 0.75rem; cursor: pointer;
}
button[aria-pressed="true"] { background: var(--mark); border-color: var(--mark); color: var(--paper); }
.sample { margin: 1.8rem 0 0; padding: 0 0 1.2rem; border-bottom: 2px solid var(--line); }
.sample h3 { margin: 0 0 0.6rem; font-size: 1.05rem; overflow-wrap: anywhere; }
.sample h3 span { font-weight: 400; }
.sample .figures { margin: 0 0 0.8rem; }
.sample tbody th { width: 38%; }
.typed { min-width: 15rem; font-size: 0.85rem; color: var(--soft); }
details summary { cursor: pointer; color: var(--soft); font-size: 0.85rem; }
details p { font-size: 0.92rem; white-space: pre-line; margin: 0.4rem 0 0; }
[hidden] { display: none !important; }
@media print { .filters { display: none; } }
"""

SCRIPT = """
const buttons = [...document.querySelectorAll(".filters button")], shown = document.getElementById("shown");
function choose(family) {
  let count = 0;
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.family === family));
  for (const sample of document.querySelectorAll(".sample")) {
    let here = 0;
    for (const row of sample.querySelectorAll("tr[data-family]")) {
      row.hidden = family !== "" && row.dataset.family !== family;
      here += !row.hidden;
    }
    sample.hidden = here === 0;
    count += here;
  }
  shown.textContent = count + (count === 1 ? " question" : " questions");
}
for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.family));
choose("");
"""
