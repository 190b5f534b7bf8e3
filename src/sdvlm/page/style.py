"""The look of the page: one style sheet for light and dark, wide and narrow, screen and paper."""

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1d1d20; --soft: #5d5d66; --line: #e3e1dc;
  --right: #17693a; --wrong: #a3312b; --mark: #6b2a8a; --code: #f1efea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17171a; --card: #1f1f23; --ink: #ececee; --soft: #a9a9b3; --line: #34343a;
    --right: #6fd39a; --wrong: #ff9d92; --mark: #d3a6f0; --code: #2a2a2f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2.1rem; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 0.6rem; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 0.7rem; letter-spacing: -0.01em; }
p { max-width: 70ch; margin: 0 0 0.8rem; }
.lead { font-size: 1.13rem; color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 1.25rem; }
.figures { margin: 1.8rem 0 0; align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
figure img { display: block; width: 100%; height: auto; }
figcaption { padding: 0.65rem 0.9rem 0.75rem; font-size: 0.92rem; line-height: 1.45; color: var(--soft); }
figcaption strong { color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 0.6rem; }
td { overflow-wrap: anywhere; min-width: 5.5rem; }
th, td { text-align: left; vertical-align: top; padding: 0.55rem 0.9rem 0.55rem 0; }
th, td { border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; border-bottom: 2px solid var(--line); white-space: nowrap; }
tbody th { font-weight: 400; min-width: 15rem; }
tfoot td, tfoot th { font-weight: 600; border-bottom: 0; }
td:last-child, th:last-child { padding-right: 0; }
.kind { display: block; font-size: 0.8rem; color: var(--soft); }
.right { color: var(--right); }
.wrong { color: var(--wrong); }
.verdict { white-space: nowrap; font-size: 0.8rem; font-weight: 600; margin-left: 0.35em; }
.note { border-left: 4px solid var(--mark); padding: 0.2rem 0 0.2rem 1rem; }
pre {
  background: var(--code); border-radius: 8px; padding: 0.9rem 1.1rem; overflow-x: auto; font-size: 0.88rem;
  line-height: 1.5; max-width: 100%;
}
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
footer { color: var(--soft); font-size: 0.88rem; }
@media print { main { padding: 0; } figure, tr { break-inside: avoid; } }
"""
