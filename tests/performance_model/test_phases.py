"""What a phase brings, and which wishes are refused."""

import pytest

from gnomon._errors import ModelError
from gnomon.performance_model.phases import Decode, Lora, Prefill, Serve, Train, Verify


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Prefill(0, 10), "--batch is 0"),
        (lambda: Prefill(True, 10), "--batch is True"),
        (lambda: Prefill(1, -5), "--prompt is -5"),
        (lambda: Prefill(1, 10, cached_prefix=-1), "--cached-prefix is -1"),
        (lambda: Prefill(1, 10**8, chunk=1), "--chunk is 1"),
        (lambda: Decode(1, 10**12), "--context is 1000000000000"),
        (lambda: Decode(1.5, 10), "--batch is 1.5"),
        (lambda: Serve(1, 10, 0), "--output is 0"),
        (lambda: Serve(1, float("nan"), 10), "--prompt is nan"),
        (lambda: Verify(1, 10, 4, accepted=5), "--accepted is 5"),
        (lambda: Train(1, 10, recompute="some"), "--recompute is 'some'"),
        (lambda: Lora(1, 10, rank=0), "--lora-rank is 0"),
    ],
)
def test_a_number_without_sense_is_refused_by_the_name_of_its_option(make, named):
    with pytest.raises(ModelError, match=named):
        make()


def test_a_prompt_in_chunks_ends_with_what_is_left():
    step = Prefill(3, 1000, cached_prefix=50, chunk=400).step()

    assert [(part.new, part.cached) for part in step.prefilled] == [
        (400, 50),
        (400, 450),
        (200, 850),
    ]
    assert (step.passes, step.head_passes, step.tokens, step.logit_rows) == (3, 1, 3000, 3)


def test_a_served_step_carries_a_prompt_for_every_output():
    step = Serve(128, prompt=1000, output=250, cached_prefix=24).step()

    assert step.tokens == 128 + 128 / 250 * 1000
    assert step.decoded[0].cached + 1 == 24 + 1000 + 125
    assert step.output_tokens == 128
