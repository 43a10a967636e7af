# SPDX-License-Identifier: Apache-2.0
"""The operator's desk: everything an operator can do or see.

Each act is one transaction with its audit line; a refusal is a VtnError and changes nothing.
`by` names the person or program that acts; it stands in the audit as `operator:BY`.
"""

from vtn.desk.audit import AuditDesk
from vtn.desk.enrolment import EnrolmentDesk
from vtn.desk.grouping import GroupingDesk
from vtn.desk.groups import GroupDesk
from vtn.desk.nodes import NodesDesk
from vtn.desk.opts import OptDesk
from vtn.desk.plans import PlanDesk
from vtn.desk.preview import PreviewDesk
from vtn.desk.readings import ReadingDesk
from vtn.desk.reports import ReportDesk
from vtn.desk.talk import TalkDesk
from vtn.desk.vens import VenDesk
from vtn.desk.watch import WatchDesk

__all__ = ["Desk"]


class Desk(
    VenDesk,
    GroupDesk,
    PlanDesk,
    ReportDesk,
    ReadingDesk,
    OptDesk,
    AuditDesk,
    EnrolmentDesk,
    WatchDesk,
    PreviewDesk,
    NodesDesk,
    GroupingDesk,
    TalkDesk,
):
    """All acts and views of the operator; shared by the API and the console."""
