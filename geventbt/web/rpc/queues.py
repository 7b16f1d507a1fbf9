"""The methods that give torrents other places in the queue."""

from __future__ import annotations

from geventbt.service import queue
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.context import Answer, Methods, RpcContext


def queue_move_top(context: RpcContext, arguments: Arguments) -> Answer:
    """To the head of the queue."""
    context.session.reorder(context.chosen(arguments), queue.moved_to_top)
    return {}


def queue_move_up(context: RpcContext, arguments: Arguments) -> Answer:
    """One place further up."""
    context.session.reorder(context.chosen(arguments), queue.moved_up)
    return {}


def queue_move_down(context: RpcContext, arguments: Arguments) -> Answer:
    """One place further down."""
    context.session.reorder(context.chosen(arguments), queue.moved_down)
    return {}


def queue_move_bottom(context: RpcContext, arguments: Arguments) -> Answer:
    """To the end of the queue."""
    context.session.reorder(context.chosen(arguments), queue.moved_to_bottom)
    return {}


METHODS: Methods = {
    method.__name__: method for method in (queue_move_top, queue_move_up, queue_move_down, queue_move_bottom)
}
