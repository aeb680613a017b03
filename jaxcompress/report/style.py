"""The frame and the style of a page; texts come in escaped."""

FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

_COLOURS = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --ink: #1a1f28; --muted: #5b6470; --rule: #e2e5e9; --shade: #f4f5f6;
  --accent: #0b5c8a; --held: #1b7346; --open: #855800; --lost: #ad2a20;
  --s0: #0b5c8a; --s1: #7db1d1; --s2: #cf9436; --s3: #6f7987; --s4: #b9c0c9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --ink: #e7e9ec; --muted: #9da5b0; --rule: #2f353e; --shade: #1c2027;
    --accent: #74b8e6; --held: #67c597; --open: #dfb262; --lost: #f0918a;
    --s0: #5ba3d3; --s1: #315f7d; --s2: #d9a24a; --s3: #8a94a2; --s4: #4b535f;
  }
}
@media print {
  :root { --paper: #fff; --ink: #000; }
}
"""

_TEXT = """
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums lining-nums; -webkit-text-size-adjust: 100%;
}
main {
  max-width: 80rem; margin: 0 auto;
  padding: clamp(1.5rem, 5vw, 3.5rem) clamp(1rem, 3vw, 2rem) 5rem;
}
h1, h2, h3, .headline { line-height: 1.2; text-wrap: balance; overflow-wrap: anywhere; }
h1 {
  font-size: clamp(1.625rem, 1.2rem + 2vw, 2.5rem); font-weight: 600; margin: 0 0 1.5rem;
  letter-spacing: -0.015em;
}
h1:has(+ .headline) {
  margin: 0 0 0.875rem; color: var(--muted); font-size: 0.9375rem; font-weight: 500;
  letter-spacing: 0;
}
.headline {
  max-width: 52rem; margin: 0 0 1rem; font-size: clamp(1.625rem, 1.15rem + 2.1vw, 2.625rem);
  font-weight: 600; letter-spacing: -0.02em;
}
.ground { max-width: 50rem; margin: 0 0 2rem; color: var(--muted); }
h2 { font-size: 1.25rem; font-weight: 600; margin: 3.5rem 0 1rem; letter-spacing: -0.01em; }
p { margin: 0 0 1rem; max-width: 44rem; white-space: pre-line; overflow-wrap: anywhere; }
pre {
  margin: 1.25rem 0; padding: 1rem 1.125rem; overflow-x: auto; background: var(--shade);
  border-radius: 6px;
  font: 0.8125rem/1.55 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace;
  tab-size: 4;
}
ul { margin: 0; padding: 0; list-style: none; }
figcaption, .notes, .legend { color: var(--muted); font-size: 0.8125rem; line-height: 1.5; }
"""

_TABLES = """
.table {
  margin: 1.25rem 0 0; overflow-x: auto;
  background:
    linear-gradient(to left, var(--paper) 40%, transparent) right / 3rem 100% no-repeat local,
    linear-gradient(to left, color-mix(in srgb, var(--ink) 14%, transparent), transparent)
      right / 0.75rem 100% no-repeat scroll;
}
table {
  min-width: min(100%, 44rem); border-collapse: collapse; font-size: 0.8125rem; line-height: 1.4;
}
h3 { margin: 1.5rem 0 -0.75rem; font-size: 0.9375rem; font-weight: 600; }
th, td {
  padding: 0.4375rem 0 0.4375rem 1.125rem; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--rule); font-weight: 400;
}
td { min-width: 7rem; overflow-wrap: anywhere; }
thead th { color: var(--muted); vertical-align: bottom; }
thead th, thead td { border-color: var(--muted); }
th:first-child { position: sticky; left: 0; padding-left: 0; background: var(--paper); z-index: 1; }
tbody th { min-width: 6rem; max-width: 14rem; overflow-wrap: break-word; }
.number { min-width: 0; text-align: right; }
td.number { white-space: nowrap; }
.notes { max-width: 46rem; margin: 0.75rem 0 0; }
.notes li { margin: 0.25rem 0; }
"""

_PICTURES = """
figure { margin: 1.25rem 0 0; max-width: 46rem; }
figure img {
  display: block; width: 100%; height: auto; padding: 0.75rem; background: #fff;
  border: 1px solid var(--rule); border-radius: 6px;
}
figcaption { margin-top: 0.5rem; }
.scatter { container-type: inline-size; }
.scatter svg { display: block; width: 100%; height: auto; }
.scatter .wide { display: none; }
@container (min-width: 34rem) {
  .scatter .wide { display: block; }
  .scatter .narrow { display: none; }
}
svg text { font-size: 12.5px; fill: var(--ink); }
svg .tick { fill: var(--muted); }
svg .start { text-anchor: start; }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg path { fill: none; }
.grid { stroke: var(--rule); }
.front { stroke: var(--accent); stroke-width: 1.25; stroke-opacity: 0.45; }
.leader { stroke: var(--muted); stroke-width: 0.75; }
.interval, .cap { stroke: var(--accent); stroke-width: 1.25; }
circle { fill: var(--accent); stroke: var(--accent); stroke-width: 1.5; }
.hollow .interval, .hollow .cap, .hollow circle { stroke: var(--muted); }
.hollow circle { fill: var(--paper); }
"""

_TILES = """
.tiles {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16.5rem), 1fr));
  gap: 0.75rem;
}
.tile { padding: 0.875rem 1rem 0.8125rem; border: 1px solid var(--rule); border-radius: 8px; }
.named { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.tile h3 { margin: 0 0 0.625rem; font-size: 0.9375rem; font-weight: 600; }
.tile dl { display: grid; grid-template-columns: 1fr 1.15fr; gap: 0.75rem; margin: 0; }
.tile dt { color: var(--muted); font-size: 0.75rem; line-height: 1.3; }
.tile dd {
  margin: 0; color: var(--muted); font-size: 0.75rem; line-height: 1.4; white-space: nowrap;
}
.tile dt + dd { color: var(--ink); font-size: 1.25rem; line-height: 1.35; letter-spacing: -0.01em; }
.tile .verdict {
  margin: 0.625rem 0 0; padding-left: 1.0625rem; font-size: 0.8125rem; line-height: 1.4;
  position: relative;
}
.verdict::before {
  content: ""; position: absolute; left: 0; top: 0.3125rem; width: 0.5rem; height: 0.5rem;
  border: 2px solid currentColor; border-radius: 50%;
}
.held .verdict { color: var(--held); }
.open .verdict { color: var(--open); }
.lost .verdict { color: var(--lost); }
.reference .verdict { color: var(--muted); }
.held .verdict::before { background: currentColor; }
.lost .verdict::before { background: currentColor; border-radius: 0; }
"""

_BARS = """
.bars { width: 100%; max-width: 60rem; }
.bar { min-width: 7rem; width: 60%; padding-right: 1px; }
.bars tbody th { min-width: 7rem; max-width: none; }
.bar div { position: relative; height: 0.875rem; }
.bar span { position: absolute; top: 0; height: 100%; min-width: 1px; }
.bar i { position: absolute; top: 50%; }
.whisker { border-top: 1.5px solid var(--ink); }
.whisker::before, .whisker::after {
  content: ""; position: absolute; top: -4px; height: 6.5px; border-left: 1.5px solid var(--ink);
}
.whisker::before { left: 0; }
.whisker::after { right: 0; }
.bar .zero { top: -0.4375rem; bottom: -0.4375rem; border-left: 1px solid var(--muted); }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.125rem; margin: 0.75rem 0 -0.5rem; }
.key {
  display: inline-block; width: 0.75rem; height: 0.75rem; margin-right: 0.375rem;
  vertical-align: -1px;
}
.s0 { background: var(--s0); } .s1 { background: var(--s1); } .s2 { background: var(--s2); }
.s3 { background: var(--s3); } .s4 { background: var(--s4); }
"""

_LAYOUT = """
.beside {
  display: grid; gap: 1rem 2.5rem; grid-template-columns: minmax(0, 1fr); margin-top: 2rem;
}
@media (min-width: 72rem) {
  .beside { grid-template-columns: minmax(0, 1fr) minmax(0, 27rem); align-items: start; }
}
details { max-width: 60rem; border-bottom: 1px solid var(--rule); }
h2 + details { border-top: 1px solid var(--rule); }
details[open] { padding-bottom: 1.5rem; }
summary { padding: 0.625rem 0; cursor: pointer; font-size: 0.9375rem; overflow-wrap: anywhere; }
summary:hover { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 40rem) {
  .wordy, .wordy tbody, .wordy tr, .wordy tbody th, .wordy td { display: block; }
  .wordy thead { display: none; }
  .wordy tr { padding: 0.75rem 0; border-bottom: 1px solid var(--rule); }
  .wordy tbody th { max-width: none; padding: 0 0 0.25rem; border: 0; font-weight: 600; }
  .wordy td {
    display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: 0.75rem;
    padding: 0.125rem 0; border: 0; text-align: left;
  }
  .wordy td::before { content: attr(data-name); color: var(--muted); }
}
@media (max-width: 30rem) {
  table:not(.wordy) :is(th, td):not(:first-child) { padding-left: 0.875rem; }
  table:not(.wordy) td:not(.number) { min-width: 10rem; }
}
@media print { main { padding: 0; max-width: none; } }
"""

STYLE = _COLOURS + _TEXT + _TABLES + _PICTURES + _TILES + _BARS + _LAYOUT
