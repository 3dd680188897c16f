"""The report of a sweep: one page that opens from a disk, and what lies beside it.

    report = write_report(ReportInput(...), Path("report"))

`content` gathers what the page shows, from the same functions as tables, figures, claims and audits; `page` turns that
into HTML by the templates of this folder.
"""

from analysis.report.content import Place, Report, ReportInput
from analysis.report.page import render
from analysis.report.write import write_report

__all__ = ["Place", "Report", "ReportInput", "render", "write_report"]
