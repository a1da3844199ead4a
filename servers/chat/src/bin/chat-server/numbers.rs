//! The chat on the metrics page.

use chat::ChatCounters;
use servers_common::Number;

#[rustfmt::skip] // a table
pub(crate) fn numbers(counters: &ChatCounters) -> Vec<Number> {
    let number = |name, help, only_grows, value| Number { name, help, only_grows, value };
    vec![
        number("chat_people", "People who are there", false, counters.people.get()),
        number("chat_rooms", "Rooms with somebody in them", false, counters.rooms.get()),
        number("chat_messages", "Messages said in rooms", true, counters.messages.get()),
        number("chat_deliveries", "The same, once for each listener", true, counters.deliveries.get()),
        number("chat_dropped_slow", "Listeners closed because they did not keep up", true, counters.dropped_slow.get()),
    ]
}
