# SPDX-License-Identifier: Apache-2.0
"""Whom an event is for: its target against the VENs, groups and resources that there are."""

from collections.abc import Collection, Mapping, Sequence

from oadr.target import Target
from vtn.errors import Invalid, Unknown
from vtn.records import Group, Ven


def resolved(
    target: Target,
    known: Mapping[str, Ven],
    all_groups: Sequence[Group],
    owners: Mapping[str, Sequence[str]],
) -> Mapping[str, Target]:
    """VEN -> the target it is shown: itself where it is meant as a whole, and its resources named.

    At most one venID stands in each (rule 63). Raises Unknown, naming what is not known; Invalid
    where nobody is left.
    """
    whole = set(target.ven_ids)
    if strangers := whole - known.keys():
        raise Unknown(f"There is no VEN '{min(strangers)}'; see `vtn vens list`.")
    for name in (*target.group_ids, *target.group_names):
        group = next((one for one in all_groups if name in (one.group_id, one.name)), None)
        if group is None:
            raise Unknown(f"There is no group '{name}'; see `vtn groups list`.")
        whole |= {ven_id for ven_id in group.ven_ids if _can_take_events(known[ven_id])}
    resources = _having(target, whole, owners)
    _refuse_other_kinds(target)
    if not target:
        whole = {ven_id for ven_id, ven in known.items() if _can_take_events(ven)}
    found = {
        ven_id: Target(
            ven_ids=(ven_id,) if ven_id in whole else (),
            resource_ids=tuple(resources.get(ven_id, ())),
        )
        for ven_id in sorted(whole | resources.keys())
    }
    for ven_id in found:
        if not _can_take_events(known[ven_id]):
            why = "revoked" if known[ven_id].revoked_at else "registered for reports only"
            raise Invalid(f"The VEN '{ven_id}' is {why} and takes no events.")
    if not found:
        raise Invalid("The event is for no VEN at all; add a VEN, or name another target.")
    return found


def _having(
    target: Target, whole: Collection[str], owners: Mapping[str, Sequence[str]]
) -> Mapping[str, Sequence[str]]:
    """VEN -> those of its resources that are named; only of the VENs named, if any are."""
    resources: dict[str, list[str]] = {}
    for resource_id in target.resource_ids:
        having = [one for one in owners.get(resource_id, ()) if not target.ven_ids or one in whole]
        if not having:
            raise Unknown(
                f"No VEN{' of these' if target.ven_ids else ''} has the resource '{resource_id}'."
            )
        for ven_id in having:
            resources.setdefault(ven_id, []).append(resource_id)
    return resources


def _refuse_other_kinds(target: Target) -> None:
    understood = Target(
        ven_ids=target.ven_ids,
        group_ids=target.group_ids,
        group_names=target.group_names,
        resource_ids=target.resource_ids,
    )
    if target != understood:
        raise Invalid(
            "An event can be aimed at VENs, groups and resources only; "
            "the VTN cannot tell who else is meant."
        )


def _can_take_events(ven: Ven) -> bool:
    return ven.revoked_at is None and not ven.report_only
