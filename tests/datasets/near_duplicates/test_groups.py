from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.datasets.near_duplicates.groups import Pair, group_pairs


def pair(first: int, second: int, score: float = 0.9) -> Pair:
    return Pair(first, second, "points", score, 40, 0)


def chain(images: Sequence[int]) -> list[Pair]:
    return [pair(one, other) for one, other in pairwise(images)]


def test_pairs_that_share_an_image_become_one_group() -> None:
    found = group_pairs([pair(1, 2), pair(2, 5), pair(7, 9)])

    assert found.groups == ((1, 2, 5), (7, 9))
    assert found.doubtful == ()


def test_one_pair_that_is_not_certain_does_not_join_two_large_groups() -> None:
    bridge = pair(3, 11, 0.4)

    found = group_pairs([*chain([1, 2, 3]), *chain([11, 12, 13]), bridge])

    assert found.groups == ((1, 2, 3), (11, 12, 13))
    assert found.doubtful == (bridge,)


def test_a_certain_pair_joins_two_large_groups() -> None:
    found = group_pairs([*chain([1, 2, 3]), *chain([11, 12, 13]), pair(3, 11, 0.9)])

    assert found.groups == ((1, 2, 3, 11, 12, 13),)


def test_two_pairs_without_a_common_image_join_two_large_groups() -> None:
    bridges = [pair(3, 11, 0.4), pair(2, 12, 0.3)]

    found = group_pairs([*chain([1, 2, 3]), *chain([11, 12, 13]), *bridges])

    assert found.groups == ((1, 2, 3, 11, 12, 13),)
    assert found.doubtful == ()


def test_two_pairs_of_one_image_do_not_join_two_large_groups() -> None:
    bridges = [pair(3, 11, 0.4), pair(3, 12, 0.3)]

    found = group_pairs([*chain([1, 2, 3]), *chain([11, 12, 13]), *bridges])

    assert len(found.groups) == 2
    assert found.doubtful == tuple(bridges)


def test_a_pair_that_is_not_certain_joins_a_single_image_to_a_large_group() -> None:
    found = group_pairs([*chain([1, 2, 3]), pair(3, 4, 0.3)])

    assert found.groups == ((1, 2, 3, 4),)


images = st.integers(0, 12)


@given(
    st.lists(
        st.tuples(images, images, st.sampled_from([0.3, 0.6, 0.9])).filter(lambda each: each[0] < each[1]),
        unique_by=lambda each: each[:2],
    )
)
def test_every_pair_is_inside_a_group_or_doubtful_in_whatever_order_pairs_come(
    drawn: list[tuple[int, int, float]],
) -> None:
    pairs = [pair(*each) for each in drawn]

    found = group_pairs(pairs)

    home = {image: group for group in found.groups for image in group}
    assert sum(len(group) for group in found.groups) == len(home)
    for each in pairs:
        assert (home[each.first] == home[each.second]) != (each in found.doubtful)
    assert group_pairs(pairs[::-1]) == found
