"""The timing and counting of whole purchases. These tests measure nothing."""

from bench.counts import of_overview
from bench.customers import Purchase, times

OVERVIEW = """\
#{[{protocol,amqp091}] =>
      #{consumers => 8,messages_confirmed_total => 40,
        messages_received_confirm_total => 40,messages_received_total => 140},
  [{protocol,amqp091},{queue_type,rabbit_classic_queue}] =>
      #{messages_acknowledged_total => 50,
        messages_delivered_consume_auto_ack_total => 20,messages_delivered_total => 70},
  [{protocol,amqp091},{queue_type,rabbit_quorum_queue}] =>
      #{messages_acknowledged_total => 30,
        messages_delivered_consume_manual_ack_total => 30,messages_delivered_total => 30},
  [{protocol,amqp091},{queue_type,rabbit_stream_queue}] =>
      #{messages_acknowledged_total => 0,messages_delivered_total => 0},
  [{queue_type,rabbit_quorum_queue},{dead_letter_strategy,disabled}] =>
      #{messages_dead_lettered_expired_total => 0}}
"""
"""Ten purchases. Each has 4 events with 3 deliveries, 5 requests, 5 answers, which RabbitMQ does
not count as delivered, and 2 deliveries to the benchmark's own classic queue."""


def test_deliveries_are_those_of_events_and_all_requests_and_answers() -> None:
    assert of_overview(OVERVIEW) == {
        "publishes": 140,
        "of them events": 40,
        "deliveries": 130,
        "acks": 80,
    }


def test_a_purchase_is_timed_from_the_moment_at_which_its_order_is_sent() -> None:
    purchases = [
        Purchase(began=n, placed=n + 0.1, answered=n + 0.2, paid=n + 0.001 * n, mailed=n + 1)
        for n in range(101)
    ]

    assert (times(purchases, "paid").p50, times(purchases, "paid").p99) == (50, 99)
    assert times([], "paid").p50 == 0
