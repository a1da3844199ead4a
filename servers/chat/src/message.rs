//! What other loops and threads say to a chat.

use std::fmt;
use std::time::Duration;

use reactor::ConnId;
use servers_common::{InputEvent, OutputEvent};

use crate::console::Console;
use crate::hall::Checked;
use crate::home::{Deed, Order};
use crate::lane::Parcel;

/// What other loops and threads say to a chat.
pub struct ChatMessage(pub(crate) Word);

impl ChatMessage {
    /// It is over: everyone is told, after all that was said before, and then all loops stop, within
    /// `grace`. To be said to loop 0.
    ///
    /// A loop that is stopped without it tells its own people only.
    pub fn farewell(grace: Duration) -> Self {
        Self(Word::Farewell(grace))
    }
}

impl fmt::Debug for ChatMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Word::Farewell(_) => "Farewell",
            Word::Deeds(..) => "Deeds",
            Word::Orders(_) => "Orders",
            Word::Checked(_) => "Checked",
            Word::Begin(_) => "Begin",
            Word::Typed(_) => "Typed",
            Word::Shown(_) => "Shown",
        })
    }
}

pub(crate) enum Word {
    Farewell(Duration),
    /// What people of the loop with this number have done.
    Deeds(u16, Parcel<(ConnId, Deed)>),
    /// What home asks of a loop.
    Orders(Parcel<Order>),
    /// A login was checked.
    Checked(Checked),
    /// The loop runs, and the console takes part.
    Begin(Box<Console>),
    /// The console has typed something.
    Typed(InputEvent),
    /// The console was shown something.
    Shown(OutputEvent),
}
