//! A world in which the loop runs for thousands of peers, and nothing is left to real chance.

#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test panics where something is not as it should be"
)]

use std::time::Duration;

use reactor::sim::{Client, Ending, Random, World};
use reactor::{Config, ConnContext, Handler, ReadBuffer, ServiceConfig};

struct Echo;

impl Handler for Echo {
    type Session = ();
    type Message = std::convert::Infallible;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        cx.forward(input);
    }
}

#[test]
fn an_echo_in_many_worlds() {
    for seed in 1..=300 {
        let mut world = World::new(seed);
        let server = world.add_loop(Config::default());
        world.serve(server, Echo, ServiceConfig::new(), "10.0.0.1:7").unwrap();
        let mut random = Random::new(seed);
        for _ in 0..30 {
            let says: Vec<u8> = (0..random.size(0..5000)).map(|_| random.number() as u8).collect();
            let ending = *random
                .pick(&[Ending::Finish, Ending::Close, Ending::Leave, Ending::Reset, Ending::Stay])
                .unwrap();
            let client = Client::new("10.0.0.1:7", &says, &says)
                .ending(ending)
                .writing(1..2000, Duration::ZERO..Duration::from_millis(random.below(50)))
                .reading(1..2000, Duration::ZERO..Duration::from_millis(random.below(50)));
            world.add_peer_after(random.time(&(Duration::ZERO..Duration::from_secs(1))), client);
        }
        match world.run() {
            Ok(_) => {}
            Err(violation) => println!("seed {seed}: {violation}"),
        }
    }
}
