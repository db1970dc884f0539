"""Pages that stand alone: one HTML file with its style and its charts in it, for a browser, a mail or a ticket.

Texts and rows enter, HTML leaves. Nothing on a page is fetched and nothing runs: no script, no font, no picture, no
address. Light or dark as the reader's system is; tables scroll sideways on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape as escape_html

from migrator.text.printable import printable_lines

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--paper:#fff;--card:#f5f7f9;--bar:#2f6fb0;
--bad:#b3372c;--good:#1f7a46;--warn:#8a5a00;--shade:#0004}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#a2adbb;--line:#38424f;--paper:#14181e;--card:#1d232b;
--bar:#6aa9e6;--bad:#ff8d80;--good:#6fd398;--warn:#f0bd62;--shade:#fff4}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.25rem 1rem 3rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.125rem;margin:2rem 0 .5rem}
p{margin:.25rem 0 .5rem}
.sub,.axis,figcaption{color:var(--soft)}
.sub{overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:minmax(7rem,auto) 1fr;gap:.25rem 1rem;margin:.75rem 0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1rem 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.card b{display:block;font-size:1.25rem;line-height:1.3;overflow-wrap:anywhere}
.card span{color:var(--soft);font-size:.875rem}
.wide{overflow-x:auto;margin:.5rem 0;background:
linear-gradient(to left,var(--paper) 30%,transparent) right/2.5rem 100% no-repeat local,
linear-gradient(to left,var(--shade),transparent) right/1rem 100% no-repeat scroll}
table{border-collapse:collapse;width:100%;font-size:.9375rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal;overflow-wrap:anywhere;min-width:8rem}
th:first-child,td:first-child{position:sticky;left:0;background:var(--paper)}
th:first-child{white-space:nowrap;overflow-wrap:normal}
td.text,th.text{text-align:left;white-space:normal;min-width:10rem}
tr.total td{font-weight:600;border-bottom:0}
td.share{width:30%;min-width:6rem}
td svg{display:block;width:100%;height:.7rem}
figure{margin:.75rem 0 1rem}
figure svg{display:block;width:100%;height:11rem;border-bottom:1px solid var(--line)}
.axis{display:flex;justify-content:space-between;font-size:.875rem}
svg rect{fill:var(--bar)}
svg rect.bad{fill:var(--bad)}
.bad{color:var(--bad)}.good{color:var(--good)}.warn{color:var(--warn)}
.note{border-left:.25rem solid var(--line);padding:.1rem .75rem;margin:.5rem 0;overflow-wrap:anywhere}
.note.bad{border-color:var(--bad)}.note.good{border-color:var(--good)}.note.warn{border-color:var(--warn)}
code{font:.875em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
footer{margin-top:2.5rem;color:var(--soft);font-size:.875rem}
@media (max-width:40rem){table{font-size:.8125rem}th,td{padding:.3rem .35rem}.share{display:none}
th:first-child,td:first-child{min-width:5.5rem}}
@media print{.wide{overflow:visible}}
"""


def escape(text: str) -> str:
    """Text for a page, in which something from outside may stand."""
    return escape_html(printable_lines(text))


def page(title: str, subtitle: str, parts: Iterable[str], *, footer: str) -> str:
    """The whole file. `parts` are HTML, of the functions below; the other texts are text."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        f'<h1>{escape(title)}</h1><p class="sub">{escape(subtitle)}</p>\n'
        + "\n".join(parts)
        + f"\n<footer>{escape(footer)}</footer>\n</main></body></html>\n"
    )


def heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    return f"<p><code>{escape(text)}</code></p>"


def note(text: str, level: str = "") -> str:
    """A sentence that stands out; `level` is "good", "warn" or "bad"."""
    return f'<p class="note {level}">{escape(text)}</p>'


def cards(facts: Iterable[tuple[str, str]]) -> str:
    """The few numbers that count most, each with its name."""
    inner = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in facts
    )
    return f'<div class="cards">{inner}</div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what is to be said of them."""
    inner = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)
    return f"<dl>{inner}</dl>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    total: Sequence[str] | None = None,
    shares: Sequence[float] | None = None,
    texts: frozenset[int] = frozenset(),
    marks: Mapping[tuple[int, int], str] | None = None,
) -> str:
    """A table whose first column is words and whose others are numbers.

    `shares` adds a bar to each row, from 0 to 1; `texts` are the columns with sentences; `marks` gives cells, by row
    and column, a level as `note` has it.
    """
    marks = marks or {}

    def cell(row: int, column: int, text: str) -> str:
        classes = " ".join(filter(None, ["text" if column in texts else "", marks.get((row, column), "")]))
        return f'<td class="{classes}">{escape(text)}</td>' if classes else f"<td>{escape(text)}</td>"

    names = "".join(
        f'<th class="text">{escape(name)}</th>' if at in texts else f"<th>{escape(name)}</th>"
        for at, name in enumerate(head)
    )
    tail = '<td class="share"></td>' if shares else ""
    lines = [f"<tr>{names}{tail}</tr>"]
    for at, row in enumerate(rows):
        cells = "".join(cell(at, column, text) for column, text in enumerate(row))
        lines.append(f"<tr>{cells}{_share(shares[at]) if shares else ''}</tr>")
    if total is not None:
        cells = "".join(cell(-1, column, text) for column, text in enumerate(total))
        lines.append(f'<tr class="total">{cells}{tail}</tr>')
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _share(share: float) -> str:
    width = f"{100 * max(0.0, min(share, 1.0)):.2f}"
    return (
        '<td class="share"><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width}" height="10"></rect></svg></td>'
    )


def column_chart(
    caption: str, columns: Sequence[tuple[str, float, float]], labels: Sequence[str], *, words: Sequence[str]
) -> str:
    """Columns side by side: each with a name, its height, and how much of that is bad.

    `labels` stand below, evenly; `words` say each column for those who point at it or can't see it. The chart is
    stretched to the width there is, so that no text is in it.
    """
    most = max((height for _, height, _ in columns), default=0) or 1
    drawn = []
    for at, ((_, height, bad), text) in enumerate(zip(columns, words, strict=True)):
        drawn.append(f"<g><title>{escape(text)}</title>{_column(at, height / most, '')}")
        drawn.append(f"{_column(at, bad / most, 'bad') if bad else ''}</g>")
    axis = "".join(f"<span>{escape(label)}</span>" for label in labels)
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        f'<svg role="img" aria-label="{escape(caption)}" viewBox="0 0 {max(len(columns), 1) * 10} 100" '
        f'preserveAspectRatio="none">{"".join(drawn)}</svg><div class="axis">{axis}</div></figure>'
    )


def _column(at: int, share: float, kind: str) -> str:
    height = f"{98 * share:.2f}"
    return f'<rect class="{kind}" x="{at * 10 + 1}" y="{100 - 98 * share:.2f}" width="8" height="{height}"></rect>'
