# SPDX-License-Identifier: Apache-2.0
"""What can be done about one node; what was refused stands on its page, beside what was typed."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from litestar import post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, SkipValidation
from litestar.response import Redirect, Template

from vtn.accounts import Act
from vtn.console.asked import Asked
from vtn.console.forms import Form
from vtn.console.node import page
from vtn.console.pem import der_of
from vtn.console.shell import AnyRequest, Shell, ShellHere, path_of, status_of
from vtn.desk import Desk
from vtn.errors import Invalid, VtnError
from vtn.operations.needs import By, DeskHere


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """One act: at which node, by whom, with which form."""

    ven_id: str
    request: AnyRequest
    shell: Shell
    desk: Desk
    by: str
    form: Form

    def typed(self, field: str, what: str) -> bool:
        """Whether the node's ID was typed; where it was not, that stands beside the field."""
        if self.form.get(field) != self.ven_id:
            self.form.refuse(f"{field}: type {self.ven_id} to {what}.")
        return not self.form.is_refused

    async def done(
        self, act: Awaitable[object], said: str, *, field: str = ""
    ) -> Template | Redirect:
        """The node's page, which says that it is done; or why not, beside `field`."""
        try:
            await act
        except VtnError as fault:
            self.form.refuse(f"{field}: {fault}" if field else str(fault))
            return await self.again(status_of(fault))
        return self.shell.go(path_of("nodes", self.ven_id), said=said)

    async def again(self, status: int = 422) -> Template:
        """The node's page, with the form as it was sent."""
        asked = Asked(self.request)
        return await page(self.ven_id, asked, self.shell, self.desk, self.form, status=status)


DoingHere = NamedDependency[SkipValidation[Doing]]


async def _doing(
    ven_id: FromPath[str], request: AnyRequest, shell: ShellHere, desk: DeskHere, by: By
) -> Doing:
    form = await shell.form()
    return Doing(ven_id=ven_id, request=request, shell=shell, desk=desk, by=by, form=form)


_NEEDS: Final = {"doing": Provide(_doing)}


@post("/nodes/{ven_id:str}/revoke", act=Act.REVOKE, dependencies=_NEEDS)
async def revoke(doing: DoingHere) -> Template | Redirect:
    if not doing.typed("typed", "shut it out"):
        return await doing.again()
    return await doing.done(
        doing.desk.revoke_ven(doing.ven_id, by=doing.by),
        f"{doing.ven_id} is shut out; what it has sent stays.",
    )


@post("/nodes/{ven_id:str}/deregister", act=Act.NODES, dependencies=_NEEDS)
async def deregister(doing: DoingHere) -> Template | Redirect:
    if not doing.typed("typed_end", "end its registration"):
        return await doing.again()
    return await doing.done(
        doing.desk.cancel_registration(doing.ven_id, by=doing.by),
        f"{doing.ven_id} is told at its next poll that its registration ends.",
    )


@post("/nodes/{ven_id:str}/reregister", act=Act.NODES, dependencies=_NEEDS)
async def reregister(doing: DoingHere) -> Template | Redirect:
    return await doing.done(
        doing.desk.request_reregistration(doing.ven_id, by=doing.by),
        f"{doing.ven_id} is asked to register again at its next poll.",
    )


@post("/nodes/{ven_id:str}/resources", act=Act.NODES, dependencies=_NEEDS)
async def add_resource(doing: DoingHere) -> Template | Redirect:
    resource_id = doing.form.get("resource_id")
    return await doing.done(
        doing.desk.add_resource(doing.ven_id, resource_id, by=doing.by),
        f"{resource_id} is a resource of {doing.ven_id} now.",
        field="resource_id",
    )


@post("/nodes/{ven_id:str}/certificate", act=Act.NODES, dependencies=_NEEDS)
async def replace_certificate(doing: DoingHere) -> Template | Redirect:
    try:
        der, sha256 = der_of(doing.form.get("certificate"), "certificate")
    except Invalid as fault:
        doing.form.refuse(str(fault))
        return await doing.again()
    if der is None:
        doing.form.refuse("certificate: paste the new certificate (PEM).")
        return await doing.again()
    return await doing.done(
        doing.desk.replace_certificate(
            doing.ven_id, certificate_sha256=sha256, certificate_der=der, by=doing.by
        ),
        f"{doing.ven_id} is let in with its new certificate only.",
        field="certificate",
    )


handlers = [revoke, deregister, reregister, add_resource, replace_certificate]
