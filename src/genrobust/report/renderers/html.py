"""The report as one HTML page that needs no network."""

from __future__ import annotations

from genrobust.report.nouns import ReportSection
from genrobust.report.page import own_script, render, render_text
from genrobust.report.view import ReportView

MACROS = """
{% import "renderers/macros.html.j2" as m with context %}
{% from "pictures.html.j2" import side_by_side, thumb %}
"""
ANY = "{{ m.body() }}"  # of a section without a template


def html(view: ReportView) -> str:
    """Return the report as one HTML page. Its policy lets nothing load from anywhere, and no script run but its own."""
    bodies = {name: _body(view, section) for name, section in view.sections.items()}
    return render("renderers/report.html.j2", view=view, bodies=bodies, **own_script())


def _body(view: ReportView, section: ReportSection) -> str:
    source = MACROS + (section.template or ANY)
    return render_text(source, view=view, section=section, values=section.values)
