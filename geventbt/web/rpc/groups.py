"""The methods that concern groups of torrents which share rates."""

from __future__ import annotations

from geventbt.service.record import GroupRecord
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.context import Answer, Methods, RpcContext
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.fields import KILO


def group_get(context: RpcContext, arguments: Arguments) -> Answer:
    """The groups, or those that are named."""
    names = [arguments.get("name")] if isinstance(arguments.get("name"), str) else arguments.items("name", str)
    groups = context.session.groups.records
    return {"group": [_shown(name, group) for name, group in groups.items() if not names or name in names]}


def _shown(name: str, group: GroupRecord) -> Answer:
    return {
        "honors_session_limits": group.keeps_session_limits,
        "name": name,
        "speed_limit_down": group.limit_down // KILO,
        "speed_limit_down_enabled": group.limits_down,
        "speed_limit_up": group.limit_up // KILO,
        "speed_limit_up_enabled": group.limits_up,
    }


def group_set(context: RpcContext, arguments: Arguments) -> Answer:
    """Change a group, or make one."""
    name = arguments.text("name", "").strip()
    if not name:
        raise RpcError(Code.INVALID_PARAMS, "No group name given")
    changes: Answer = {}
    for direction in ("down", "up"):
        if f"speed_limit_{direction}" in arguments:
            changes[f"limit_{direction}"] = arguments.integer(f"speed_limit_{direction}") * KILO
        if f"speed_limit_{direction}_enabled" in arguments:
            changes[f"limits_{direction}"] = arguments.boolean(f"speed_limit_{direction}_enabled")
    if "honors_session_limits" in arguments:
        changes["keeps_session_limits"] = arguments.boolean("honors_session_limits")
    try:
        context.session.change_group(name, changes)
    except ValueError as error:
        raise RpcError(Code.INVALID_PARAMS, str(error)) from error
    return {}


METHODS: Methods = {method.__name__: method for method in (group_get, group_set)}
