"""The report as one HTML page that needs no network."""

from __future__ import annotations

from genrobust.report.page_templates import own_script, render, render_text
from genrobust.report.report_section import ReportSection
from genrobust.report.report_view import ReportView

MACROS = """
{% import "renderers/macros.html.j2" as m with context %}
{% from "pictures.html.j2" import side_by_side, thumb %}
"""
# The body of a section without a template.
DEFAULT_BODY = "{{ m.body() }}"


def html(view: ReportView) -> str:
    """Return the report as one HTML page. By its policy, the page loads nothing and runs only its own script."""
    bodies = {name: _body(view, section) for name, section in view.sections.items()}
    return render("renderers/report.html.j2", view=view, bodies=bodies, **own_script())


def _body(view: ReportView, section: ReportSection) -> str:
    source = MACROS + (section.template or DEFAULT_BODY)
    return render_text(source, view=view, section=section, values=section.values)
