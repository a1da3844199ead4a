//! What a name may be: judged by what it looks like on a terminal.

use unicode_width::UnicodeWidthStr;

/// Characters that a name may have.
const CHARACTERS_MAX: usize = 32;
/// Cells of a terminal that it may take.
const CELLS_MAX: usize = 64;

/// The room that everyone enters first.
pub const LOBBY: &str = "#lobby";

/// The name of who runs the server.
pub const SERVER: &str = "server";

/// Whether somebody may be called this: 1 to 32 characters, at most 64 cells, nothing that is not seen and
/// nothing that moves what is.
///
/// ```
/// use chat::is_name;
///
/// assert!(is_name("alice") && is_name("Zoë") && is_name("漢字"));
/// assert!(!is_name("") && !is_name("two words") && !is_name("a\u{202e}b") && !is_name("\u{7f}"));
/// ```
pub fn is_name(text: &str) -> bool {
    (1..=CHARACTERS_MAX).contains(&text.chars().take(CHARACTERS_MAX + 1).count())
        && !text.chars().any(is_out_of_place)
        && (1..=CELLS_MAX).contains(&text.width())
}

/// Whether a room may be called this: `#` and what [`is_name`] takes.
pub fn is_room_name(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(is_name)
}

/// The name that these bytes are, if they are one.
pub(crate) fn name_in(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| is_name(text))
}

/// The name of a room that these bytes are, if they are one.
pub(crate) fn room_name_in(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| is_room_name(text))
}

/// The name of a guest.
pub(crate) fn guest_name(number: u64) -> String {
    format!("guest-{number}")
}

/// Whether it is the name of some guest, of now or of later.
pub(crate) fn is_guest_name(name: &str) -> bool {
    name.strip_prefix("guest-").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Whether no account may be called this.
pub fn is_reserved(name: &str) -> bool {
    name == SERVER || is_guest_name(name)
}

fn is_out_of_place(character: char) -> bool {
    character.is_whitespace() || character.is_control() || turns(character) || is_unseen(character)
}

/// Whether it turns the writing direction, or only marks it.
fn turns(character: char) -> bool {
    overrides_direction(character) || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
}

/// Whether it embeds, overrides or isolates a writing direction, or ends that.
pub(crate) fn overrides_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// With one of these, two names that differ look alike.
fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_has_1_to_32_characters_and_at_most_64_cells() {
        for name in
            ["a", &"a".repeat(32), &"漢".repeat(32), "guest-7", "a:b", "é", "e\u{301}", "🦀"]
        {
            assert!(is_name(name), "{name}");
        }
        for name in ["", &"a".repeat(33), &"漢".repeat(33), "\u{301}"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_not_seen_or_turns_what_is_has_no_place_in_a_name() {
        for character in [
            ' ', '\t', '\n', '\r', '\0', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{a0}',
            '\u{3000}', '\u{2028}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}',
            '\u{2066}', '\u{2069}', '\u{61c}', '\u{feff}', '\u{ad}',
        ] {
            assert!(!is_name(&format!("a{character}b")), "{character:?}");
            assert!(!is_room_name(&format!("#a{character}b")), "{character:?}");
        }
    }

    #[test]
    fn a_room_has_a_hash_and_a_name() {
        assert!(is_room_name(LOBBY) && is_room_name("##") && is_room_name("#漢"));
        for name in ["", "#", "lobby", "# a", &format!("#{}", "a".repeat(33))] {
            assert!(!is_room_name(name), "{name}");
        }
        assert_eq!(room_name_in(b"#\xff"), None);
    }

    #[test]
    fn guests_and_the_server_are_no_accounts() {
        for name in ["guest-1", "guest-007", "server", "guest-99999999999999999999"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["guest-", "guest", "guest-x", "Server", "guest-1x"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_what_a_terminal_shows_in_one_piece(text in "\\PC{0,40}|.{0,40}") {
            if is_name(&text) {
                prop_assert!(text.chars().count() <= 32 && text.width() <= 64);
                prop_assert_eq!(text.split_whitespace().count(), 1);
                prop_assert!(!text.chars().any(char::is_control));
                prop_assert_eq!(name_in(text.as_bytes()), Some(&text[..]));
            }
        }
    }
}
