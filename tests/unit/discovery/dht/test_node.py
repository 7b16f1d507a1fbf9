"""A node: what it answers, what it sends, and what it makes of answers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from geventbt import bencoding, limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import IPV4, IPV6, Contact, pack_contacts, unpack_contacts
from geventbt.discovery.dht.goals import Announce, CountPeers, FindItem, FindPeers, StoreItem, StoreMutable
from geventbt.discovery.dht.items import Item, public_key_of, sign, target_of
from geventbt.discovery.dht.lookup import Lookup
from geventbt.discovery.dht.node import Node
from geventbt.discovery.dht.node_id import is_secure
from geventbt.discovery.dht.parser import parse
from geventbt.discovery.dht.search import Search

HASH = b"h" * 20
OTHER_ID = b"o" * 20
ASKER = ("127.0.0.1", 7000)
SEED = b"s" * 32


def make(node_id: bytes = b"n" * 20, family: int = IPV4, **options: Any) -> Node:
    return Node(family, rng=random.Random(1), now=0.0, node_id=node_id, **options)


def ask(node: Node, request: m.Request, address: tuple[str, int] = ASKER, now: float = 0.0, **options: Any) -> Any:
    """Send a query; the answer, or None if there is none."""
    node.receive(m.write_query(b"tt", OTHER_ID, request, **options), address, now)
    return answer_of(node, address)


def answer_of(node: Node, address: tuple[str, int] = ASKER) -> Any:
    sent = node.take_outgoing()
    if not sent:
        return None
    ((data, destination),) = sent
    assert destination == address
    assert len(data) <= limits.DHT_MAX_ANSWER
    return parse(data)


def with_nodes(node: Node, count: int = 30) -> list[Contact]:
    """Let a node know others."""
    rng = random.Random(2)
    contacts = [Contact(rng.randbytes(20), ("127.0.0.1", 100 + number)) for number in range(count)]
    for contact in contacts:
        node.table.answered(contact, 0.0)
    return contacts


# ---------------------------------------------------------------------- answers


def test_a_ping_is_answered_with_our_id_and_the_askers_address() -> None:
    node = make()
    reply = ask(node, m.Ping())
    assert (reply.transaction_id, reply.node_id, reply.own_address) == (b"tt", node.node_id, ASKER)


def test_find_node_gives_the_closest() -> None:
    node = make()
    with_nodes(node)
    reply = ask(node, m.FindNode(HASH))
    assert reply.nodes == node.table.closest(HASH)
    assert len(reply.nodes) == 8


def test_the_nodes_of_the_other_family_are_given_to_those_who_want_them() -> None:
    node, other = make(), make(b"m" * 20, IPV6)
    node.pair_with(other)
    contact = Contact(b"c" * 20, ("2001:db8::1", 5))
    other.table.answered(contact, 0.0)
    with_nodes(node)
    assert contact not in ask(node, m.FindNode(HASH)).nodes
    assert ask(node, m.FindNode(HASH, frozenset((IPV6,)))).nodes == [contact]
    assert len(ask(node, m.FindNode(HASH, frozenset((IPV4, IPV6)))).nodes) == 9


def test_who_announces_with_a_token_is_given_to_others() -> None:
    node = make()
    with_nodes(node)
    token = ask(node, m.GetPeers(HASH)).token
    assert ask(node, m.AnnouncePeer(HASH, 6881, token)).node_id == node.node_id
    reply = ask(node, m.GetPeers(HASH), ("127.0.0.2", 1))
    assert reply.peers == [("127.0.0.1", 6881)]
    assert len(reply.nodes) == 8, "the nodes come beside the peers (BEP 32)"


def test_an_implied_port_is_that_of_the_datagram() -> None:
    node = make()
    token = ask(node, m.GetPeers(HASH)).token
    ask(node, m.AnnouncePeer(HASH, 1, token, implied_port=True))
    assert ask(node, m.GetPeers(HASH)).peers == [ASKER]


@pytest.mark.parametrize("address", [("127.0.0.2", 7000), ("127.0.0.1", 7000)])
def test_a_wrong_token_stores_nothing(address: tuple[str, int]) -> None:
    node = make()
    token = ask(node, m.GetPeers(HASH)).token
    failure = ask(node, m.AnnouncePeer(HASH, 1, token if address != ASKER else b"wrong"), address)
    assert failure.code == m.PROTOCOL_ERROR
    assert len(node.responder.peers) == 0


def test_a_full_answer_fits_into_its_datagram() -> None:
    for family, host in ((IPV4, "9.{}.{}.1"), (IPV6, "2001:db8:{}:{}::1")):
        node = make(family=family)
        for number in range(400):
            address = (host.format(number % 200, number // 200), 6881)
            node.table.answered(Contact(random.Random(number).randbytes(20), address), 0.0)
            node.responder.peers.add(HASH, address, 0.0, is_seed=False)
        asker = (host.format(250, 1), 1)
        for request in (
            m.GetPeers(HASH),
            m.GetPeers(HASH, scrape=True),
            m.GetPeers(HASH, frozenset((IPV4, IPV6))),
            m.SampleInfoHashes(HASH),
        ):
            reply = ask(node, request, asker, now=float(len(request.want)))
            assert len(reply.nodes) == 8
        assert len(ask(node, m.GetPeers(HASH), asker, now=10.0).peers) >= 20


def test_scrape_gives_filters_instead_of_peers() -> None:
    node = make()
    node.responder.peers.add(HASH, ("9.9.9.9", 1), 0.0, is_seed=True)
    reply = ask(node, m.GetPeers(HASH, scrape=True))
    assert round(reply.seeds.estimate()) == 1
    assert reply.others.estimate() == 0
    assert reply.peers == []
    assert ask(node, m.GetPeers(b"u" * 20, scrape=True)).seeds is None


def test_no_token_where_there_is_no_room() -> None:
    node = make()
    for number in range(limits.DHT_SWARM_PEERS):
        node.responder.peers.add(HASH, (f"9.{number >> 8}.{number & 255}.1", 1), 0.0, is_seed=False)
    assert ask(node, m.GetPeers(HASH)).token is None


def test_an_item_is_stored_and_given() -> None:
    node = make()
    for item in (Item(b"5:value"), sign(b"value", SEED, 4, b"salt")):
        token = ask(node, m.Get(item.target)).token
        assert isinstance(ask(node, m.PutItem(item, token)), m.Reply)
        given = ask(node, m.Get(item.target)).item
        assert (given.raw, given.key, given.seq) == (item.raw, item.key, item.seq)


def test_an_item_that_the_asker_knows_is_not_sent_again() -> None:
    node = make()
    item = sign(b"value", SEED, 4)
    ask(node, m.PutItem(item, ask(node, m.Get(item.target)).token))
    assert ask(node, m.Get(item.target, 3)).item is not None
    reply = ask(node, m.Get(item.target, 4))
    assert (reply.item, reply.seq) == (None, 4)


def test_an_old_seq_and_another_cas_have_their_errors() -> None:
    node = make()
    item = sign(b"value", SEED, 4)
    token = ask(node, m.Get(item.target)).token
    ask(node, m.PutItem(item, token))
    assert ask(node, m.PutItem(sign(b"value", SEED, 3), token)).code == m.SEQ_TOO_LOW
    assert ask(node, m.PutItem(sign(b"value", SEED, 5), token, cas=3)).code == m.CAS_MISMATCH


def test_samples_are_given_with_how_many_there_are() -> None:
    node = make()
    assert ask(node, m.SampleInfoHashes(HASH)).samples == ()
    node.responder.peers.add(HASH, ("9.9.9.9", 1), 0.0, is_seed=False)
    reply = ask(node, m.SampleInfoHashes(HASH))
    assert (reply.samples, reply.sample_count) == ((HASH,), 1)


def test_a_bad_query_gets_an_error_and_garbage_gets_nothing() -> None:
    node = make()
    node.receive(bencoding.encode({"t": b"x", "y": "q", "q": "vote", "a": {"id": OTHER_ID}}), ASKER, 0.0)
    assert answer_of(node).code == m.UNKNOWN_METHOD
    for data in (b"", b"garbage", b"de", bytes(2000)):
        node.receive(data, ASKER, 0.0)
        assert answer_of(node) is None
    assert node.counters.malformed == 5


def test_a_read_only_node_answers_nothing_and_says_so() -> None:
    node = make(read_only=True)
    assert ask(node, m.Ping()) is None
    assert node.ask(ASKER, m.Ping(), None, 0.0)
    assert answer_of(node).read_only


def test_a_read_only_asker_does_not_become_a_node() -> None:
    node = make()
    ask(node, m.Ping(), read_only=True)
    assert node.table.to_ping(0.0, urgent=True) is None
    ask(node, m.Ping())
    assert node.table.to_ping(0.0, urgent=True) == Contact(OTHER_ID, ASKER)


@pytest.mark.parametrize("address", [("9.9.9.9", 0), ("224.0.0.1", 5), ("0.0.0.0", 5), ("255.255.255.255", 5)])
def test_addresses_that_no_node_can_have_get_no_answer(address: tuple[str, int]) -> None:
    assert ask(make(), m.Ping(), address) is None


# ---------------------------------------------------------------------- limits


def test_a_flood_from_one_network_is_answered_by_silence() -> None:
    node = make()
    answers = sum(ask(node, m.Ping(), ("9.9.9.9", 1)) is not None for _ in range(1000))
    assert answers == limits.DHT_SOURCE_BURST
    assert node.counters.refused == 1000 - answers
    assert ask(node, m.Ping(), ("9.9.8.1", 1)) is not None


def test_the_bytes_of_all_answers_are_bounded() -> None:
    node = make()
    with_nodes(node)
    sent = 0
    for number in range(1000):
        node.receive(m.write_query(b"tt", OTHER_ID, m.GetPeers(HASH)), (f"9.{number >> 8}.{number & 255}.1", 1), 0.0)
        sent += sum(len(data) for data, _ in node.take_outgoing())
    assert sent <= limits.DHT_ANSWER_BURST


def test_nothing_is_done_for_a_query_that_could_not_be_answered() -> None:
    node = make()
    with_nodes(node)
    token = ask(node, m.GetPeers(HASH)).token
    number = 0
    while ask(node, m.GetPeers(HASH), (f"9.{number >> 8}.{number & 255}.1", 1)) is not None:
        number += 1
    assert ask(node, m.AnnouncePeer(HASH, 4242, token)) is None
    assert not len(node.responder.peers)
    assert ask(node, m.AnnouncePeer(HASH, 4242, token), now=10.0) is not None
    assert len(node.responder.peers) == 1


def test_never_more_queries_than_allowed() -> None:
    node = make(query_rate=10.0)
    sent = [node.ask((f"9.9.{number}.1", 1), m.Ping(), None, 0.0) for number in range(250)]
    assert sum(sent) == limits.DHT_QUERY_BURST
    sent = [node.ask((f"9.8.{number}.1", 1), m.Ping(), None, 1.0) for number in range(250)]
    assert sum(sent) == 10


def test_never_more_than_five_queries_a_second_to_one_address() -> None:
    node = make()
    sent = [node.ask(("9.9.9.9", port), m.Ping(), None, port / 100) for port in range(1, 101)]
    assert sum(sent) <= limits.DHT_ADDRESS_BURST + limits.DHT_ADDRESS_RATE
    assert node.ask(("9.9.9.8", 1), m.Ping(), None, 1.0)


# ---------------------------------------------------------------------- searches


class Talk:
    """Answers a node's queries as a test wants it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.now = 0.0

    def queries(self) -> list[tuple[m.Query, tuple[str, int]]]:
        found = [(parse(data), address) for data, address in self.node.take_outgoing()]
        return [(query, address) for query, address in found if isinstance(query, m.Query)]

    def reply(self, query: m.Query, address: tuple[str, int], node_id: bytes, **values: bytes) -> None:
        data = m.write_reply(query.transaction_id, node_id, {k.encode(): v for k, v in values.items()}, ("9.9.9.9", 1))
        self.node.receive(data, address, self.now)

    def start(self, goal: Any) -> Search:
        search = Search(goal, Lookup(goal.target, self.node.node_id))
        self.node.start(search, self.now)
        return search


def between(asking: Node, answering: dict[tuple[str, int], Node], now: float) -> None:
    """Carry datagrams until there are none."""
    ours = ("127.0.0.1", 6000)
    while True:
        sent = asking.take_outgoing()
        if not sent:
            return
        for data, address in sent:
            if address in answering:
                answering[address].receive(data, ours, now)
                for answer, _ in answering[address].take_outgoing():
                    asking.receive(answer, address, now)


@pytest.fixture
def others() -> dict[tuple[str, int], Node]:
    rng = random.Random(3)
    return {("127.0.0.1", 8000 + n): make(rng.randbytes(20)) for n in range(10)}


@pytest.fixture
def node(others: dict[tuple[str, int], Node]) -> Node:
    node = make()
    for address, other in others.items():
        node.table.answered(Contact(other.node_id, address), 0.0)
    return node


def run(node: Node, others: dict[tuple[str, int], Node], goal: Any, now: float = 0.0) -> Search:
    search = Search(goal, Lookup(goal.target, node.node_id))
    node.start(search, now)
    between(node, others, now)
    assert search.is_over
    return search


def test_an_announce_is_stored_on_the_eight_closest_and_found(node: Node, others: Any) -> None:
    assert run(node, others, FindPeers(HASH, Announce(4242))).stored == 8
    goal = FindPeers(HASH)
    run(node, others, goal, 1.0)
    assert [address for address, _ in goal.found] == [("127.0.0.1", 4242)]


def test_seeds_and_others_are_counted(node: Node, others: Any) -> None:
    run(node, others, FindPeers(HASH, Announce(4242, is_seed=True)))
    goal = CountPeers(HASH)
    run(node, others, goal, 1.0)
    assert (round(goal.seeds.estimate()), round(goal.others.estimate())) == (1, 0)


def test_items_are_stored_and_found(node: Node, others: Any) -> None:
    for number, item in enumerate((Item(b"5:value"), sign(b"value", SEED, 4, b"salt"))):
        assert run(node, others, StoreItem(item), 2.0 * number).stored == 8
        goal = FindItem(item.target, item.salt)
        run(node, others, goal, 2.0 * number + 1)
        assert goal.item == item


def test_a_mutable_item_gets_the_next_seq(node: Node, others: Any) -> None:
    for number in range(3):
        goal = StoreMutable(b"v%d" % number, SEED)
        assert run(node, others, goal, 2.0 * number).stored == 8
        assert goal.item is not None
        assert goal.item.seq == number + 1


@pytest.mark.parametrize(("seq", "cas", "code"), [(5, 3, 301), (3, None, 302), (4, None, 302), (5, 4, None)])
def test_what_is_there_decides_whether_an_item_may_come(
    node: Node, others: Any, seq: int, cas: int | None, code: int | None
) -> None:
    run(node, others, StoreMutable(b"there", SEED, seq=4))
    goal = StoreMutable(b"new", SEED, seq=seq, cas=cas)
    search = run(node, others, goal, 2.0)
    assert (goal.refused and goal.refused[0]) == code
    assert search.stored == (0 if code else 8)


def test_an_item_of_another_target_or_signature_is_not_taken() -> None:
    node = make()
    contacts = with_nodes(node, 2)
    talk = Talk(node)
    wanted = sign(b"value", SEED, 4)
    search = talk.start(FindItem(wanted.target))
    lies = [sign(b"other", b"x" * 32, 9), Item(b"5:other")]
    for (query, address), lie in zip(talk.queries(), lies, strict=True):
        node_id = next(contact.id for contact in contacts if contact.address == address)
        values = {key.decode(): value for key, value in m.item_values(lie).items()}
        talk.reply(query, address, node_id, **values)
    goal: Any = search.goal
    assert goal.item is None


def test_the_newest_item_counts() -> None:
    goal = FindItem(target_of(public_key_of(SEED)))
    for port, seq in enumerate((3, 9, 5), 1):
        goal.take(Contact(OTHER_ID, ("127.0.0.1", port)), m.Reply(b"t", OTHER_ID, item=sign(b"x", SEED, seq)))
    assert goal.item is not None
    assert goal.item.seq == 9


def test_peers_nearer_to_us_than_their_teller_are_not_taken() -> None:
    goal = FindPeers(HASH)
    peers = [("127.0.0.1", 1), ("10.0.0.1", 1), ("8.8.8.8", 1), ("8.8.8.8", 2), ("8.8.4.4", 1)]
    goal.take(Contact(OTHER_ID, ("9.9.9.9", 1)), m.Reply(b"t", OTHER_ID, peers=peers))
    assert [address for address, _ in goal.found] == [("8.8.8.8", 1), ("8.8.4.4", 1)]


def test_nodes_nearer_to_us_than_their_teller_are_not_taken() -> None:
    contacts = [Contact(bytes([n]) * 20, (host, 9)) for n, host in enumerate(("127.0.0.1", "10.0.0.1", "8.8.8.8"), 1)]
    for teller, taken in (("127.0.0.1", contacts), ("10.0.0.2", contacts[1:]), ("9.9.9.9", contacts[2:])):
        node = make()
        node.table.answered(Contact(OTHER_ID, (teller, 1)), 0.0)
        talk = Talk(node)
        talk.start(FindPeers(HASH))
        ((query, address),) = talk.queries()
        talk.reply(query, address, OTHER_ID, nodes=m.string(pack_contacts(contacts)))
        asked = {address for _, address in talk.queries()}
        assert asked == {contact.address for contact in taken}


@pytest.mark.parametrize("kind", ["address", "transaction id"])
def test_an_answer_to_no_question_is_dropped(kind: str) -> None:
    node = make()
    node.ask(ASKER, m.Ping(), None, 0.0)
    ((data, address),) = node.take_outgoing()
    query = parse(data)
    transaction_id = b"??" if kind == "transaction id" else query.transaction_id
    source = ("127.0.0.1", 7001) if kind == "address" else address
    node.receive(m.write_reply(transaction_id, OTHER_ID, {}, ASKER), source, 0.1)
    assert node.counters.unexpected == 1
    assert len(node.table) == 0
    node.receive(m.write_reply(query.transaction_id, OTHER_ID, {}, ASKER), address, 0.1)
    assert len(node.table) == 1


def test_a_node_that_does_not_answer_is_slow_and_then_failed() -> None:
    node = make()
    with_nodes(node, 1)
    node.table.answered(Contact(b"x" * 20, ("127.0.0.1", 9)), 0.0)
    search = Talk(node).start(FindPeers(HASH))
    node.take_outgoing()
    now = 0.0
    while not search.is_over:
        now = max(now + 0.001, node.next_wake(now))
        node.wake(now)
    assert now == pytest.approx(limits.DHT_ANSWER_TIMEOUT, abs=0.1)


def test_a_new_address_gives_a_new_id_and_keeps_the_nodes() -> None:
    node = make()
    talk = Talk(node)
    for number in range(limits.DHT_VOTES):
        address = (f"9.9.{number}.1", 1)
        node.ask(address, m.Ping(), None, 0.0)
        ((query, _),) = [sent for sent in talk.queries() if sent[1] == address]
        data = m.write_reply(query.transaction_id, bytes([number]) * 20, {}, ("7.7.7.7", 5))
        node.receive(data, address, 0.0)
    assert node.own_address.host == "7.7.7.7"
    assert is_secure(node.node_id, "7.7.7.7")
    assert len(node.table) == limits.DHT_VOTES
    node.take_outgoing()
    assert ask(node, m.Ping()).node_id == node.node_id


def test_routers_give_nodes_and_stay_out_of_the_table() -> None:
    node = make()
    talk = Talk(node)
    router, contact = ("127.0.0.1", 1), Contact(b"c" * 20, ("127.0.0.1", 2))
    node.upkeep.begin([], 0.0)
    node.add_addresses([router], 0.0, are_routers=True)
    ((query, address),) = talk.queries()
    assert address == router
    packed = m.string(contact.id + bytes([127, 0, 0, 1, 0, 2]))
    talk.reply(query, address, OTHER_ID, nodes=packed)
    assert [address for _, address in talk.queries()] == [contact.address]
    assert len(node.table) == 0


def test_a_search_waits_for_the_first_nodes() -> None:
    node = make()
    talk = Talk(node)
    node.add_addresses([("127.0.0.1", 2)], 0.0)
    node.upkeep.begin([], 0.0)
    goal = FindPeers(HASH)
    search = talk.start(goal)
    ((query, address),) = talk.queries()
    assert isinstance(query.request, m.FindNode)
    talk.reply(query, address, OTHER_ID)
    ((query, address),) = [sent for sent in talk.queries() if isinstance(sent[0].request, m.GetPeers)]
    talk.reply(query, address, OTHER_ID, values=b"l6:\x7f\0\0\x01\x00\x05e")
    assert search.is_over
    assert len(goal.found) == 1


def test_of_nodes_that_are_named_by_the_thousand_a_few_are_asked_at_a_time() -> None:
    node = make()
    node.upkeep.begin([], 0.0)
    for port in range(1, 1000):
        node.add_addresses([("127.0.0.1", port)], 0.0)
    assert len(node.take_outgoing()) == limits.DHT_LOOKUP_WIDTH


def test_a_node_that_is_named_while_others_are_silent_is_asked_as_well() -> None:
    node = make()
    silent = [("127.0.0.1", port) for port in range(1, 2 * limits.DHT_LOOKUP_WIDTH)]
    node.add_addresses(silent, 0.0)
    node.upkeep.begin([], 0.0)
    late, now = ("127.0.0.1", 100), 0.5
    node.add_addresses([late], now)
    while late not in [address for _, address in node.take_outgoing()]:
        now = max(now + 0.001, node.next_wake(now))
        node.wake(now)
    assert now < limits.DHT_ANSWER_TIMEOUT


def test_without_any_node_a_search_is_over() -> None:
    node = make()
    node.upkeep.begin([], 0.0)
    node.wake(0.0)
    assert Talk(node).start(FindPeers(HASH)).is_over


def test_what_others_have_stored_with_us_is_found_although_no_other_node_has_it() -> None:
    node = make()
    node.upkeep.begin([], 0.0)
    node.wake(0.0)
    item = sign(b"value", SEED, 3, b"salt")
    node.responder.items.put(item, "127.0.0.1", 0.0)
    for host, is_seed in (("9.9.9.9", True), ("127.0.0.1", False)):
        node.responder.peers.add(HASH, (host, 5), 0.0, is_seed=is_seed)
    peers, number = FindPeers(HASH), CountPeers(HASH)
    stored, next_one = FindItem(item.target, b"salt"), StoreMutable(b"newer", SEED, b"salt")
    for goal in (peers, number, stored, next_one):
        assert Talk(node).start(goal).is_over
    assert sorted(address for address, _ in peers.found) == [("127.0.0.1", 5), ("9.9.9.9", 5)]
    assert (round(number.seeds.estimate()), round(number.others.estimate())) == (1, 1)
    assert stored.item == item
    assert next_one.item is not None
    assert next_one.item.seq == 4


def test_a_search_waits_while_the_names_of_nodes_are_looked_up() -> None:
    node = make()
    node.upkeep.set_expects_nodes(True, 0.0)
    node.upkeep.begin([], 0.0)
    node.wake(0.0)
    search = Talk(node).start(FindPeers(HASH))
    assert not search.is_over
    node.upkeep.set_expects_nodes(False, 1.0)
    assert search.is_over


def test_the_nodes_of_an_answer_are_of_both_families() -> None:
    node, other = make(), make(b"m" * 20, IPV6)
    node.pair_with(other)
    with_nodes(node, 1)
    talk = Talk(node)
    talk.start(FindPeers(HASH))
    ((query, address),) = talk.queries()
    assert query.request == m.GetPeers(HASH, frozenset((IPV4, IPV6)))
    packed = OTHER_ID + bytes(15) + b"\x01\0\x09"
    assert list(unpack_contacts(packed, IPV6)) == [Contact(OTHER_ID, ("::1", 9))]
    talk.reply(query, address, next(iter(node.table)).contact.id, nodes6=m.string(packed))
    assert other.table.to_ping(0.0, urgent=True) == Contact(OTHER_ID, ("::1", 9))


def test_timeouts_that_are_due_at_one_time_are_handled_a_few_at_a_time() -> None:
    node = make()
    asked = [node.ask((f"9.9.{number}.9", 6881), m.Ping(), None, 0.0) for number in range(80)]
    assert all(asked)
    node.wake(60.0)
    assert node.counters.failures < 80
    for _ in range(20):
        assert node.counters.failures == 80 or node.next_wake(60.0) <= 60.0
        node.wake(60.0)
    assert node.counters.failures == 80
