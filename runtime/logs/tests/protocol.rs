//! The level protocol gives the same messages wherever chunks begin and end.

use drover_logs::{Message, OutputParser, Part, Stream};
use proptest::prelude::*;

/// What a parser handed out: level, bytes and which part.
type Said = Vec<(u8, Vec<u8>, Part)>;

fn parse<'a>(longest: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let mut said = Said::new();
    let mut sink = |message: Message<'_>| {
        said.push((message.level.0, message.data.to_vec(), message.part));
    };
    let mut parser = OutputParser::new(Stream::Stdout, longest);
    for chunk in chunks {
        parser.feed(chunk, &mut sink);
    }
    parser.finish(&mut sink);
    said
}

/// Cuts `input` at `borders`, which may be anywhere and repeat.
fn cut<'a>(input: &'a [u8], borders: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut borders: Vec<usize> = borders.iter().map(|i| i.index(input.len() + 1)).collect();
    borders.extend([0, input.len()]);
    borders.sort_unstable();
    borders.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
}

/// The messages with their parts put together again.
fn joined(said: &Said) -> Vec<(u8, Vec<u8>)> {
    let mut whole: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut is_open = false;
    for (level, data, part) in said {
        assert_eq!(is_open, matches!(part, Part::Middle | Part::Last), "parts out of order");
        match whole.last_mut() {
            Some((of, text)) if is_open => {
                assert_eq!(of, level, "the parts of a message have one level");
                text.extend_from_slice(data);
            }
            _ => whole.push((*level, data.clone())),
        }
        is_open = matches!(part, Part::First | Part::Middle);
    }
    assert!(!is_open, "a message was not ended");
    whole
}

/// Output made of what the protocol gives a meaning, and of anything else.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\n".to_vec()),
        2 => Just(b":::".to_vec()),
        1 => Just(b":::\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(b":".to_vec()),
        2 => (0..400_u16).prop_map(|level| format!("{level}::").into_bytes()),
        2 => (0..300_u16).prop_map(|level| format!("\n{level}:::").into_bytes()),
        2 => "[a-zäé0-9€\u{1f600}]{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn chunk_borders_change_nothing(
        input in output(),
        borders in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        longest in 16_usize..80,
    ) {
        let whole = parse(longest, [&input[..]]);
        prop_assert_eq!(&parse(longest, cut(&input, &borders)), &whole);
        prop_assert_eq!(&parse(longest, input.chunks(1)), &whole);
    }

    #[test]
    fn the_longest_message_changes_nothing_but_the_cuts(input in output(), longest in 16_usize..80) {
        let cut = parse(longest, [&input[..]]);
        prop_assert!(cut.iter().all(|(_, data, _)| data.len() <= longest));
        let uncut = parse(usize::MAX >> 1, [&input[..]]);
        prop_assert_eq!(joined(&cut), joined(&uncut));
    }

    #[test]
    fn text_stays_text_when_it_is_cut(text in "[a-zäé€\u{1f600}]{0,200}") {
        let parts = parse(16, [text.as_bytes()]);
        prop_assert!(parts.iter().all(|(_, data, _)| std::str::from_utf8(data).is_ok()));
    }

    #[test]
    fn lines_without_a_prefix_lose_no_byte(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20),
    ) {
        // A blank in front: no line begins with a prefix.
        let lines: Vec<Vec<u8>> = lines
            .into_iter()
            .map(|line| [vec![b' '], line.into_iter().filter(|&b| b != b'\n').collect()].concat())
            .collect();
        let said = joined(&parse(16, [&lines.join(&b'\n')[..]]));
        prop_assert_eq!(said.into_iter().map(|(_, data)| data).collect::<Vec<_>>(), lines);
    }
}

#[test]
fn a_line_of_100_mb_comes_in_linked_parts() {
    let chunk = vec![b'x'; 64 * 1024];
    let mut parser = OutputParser::new(Stream::Stdout, OutputParser::LONGEST_MESSAGE);
    let (mut bytes, mut parts) = (0, Vec::new());
    let mut sink = |message: Message<'_>| {
        assert!(message.data.len() <= OutputParser::LONGEST_MESSAGE);
        bytes += message.data.len();
        parts.push(message.part);
    };
    for _ in 0..1600 {
        parser.feed(&chunk, &mut sink);
    }
    parser.feed(b"\n", &mut sink);
    assert_eq!(bytes, 1600 * chunk.len());
    assert_eq!(parts.first(), Some(&Part::First));
    assert_eq!(parts.last(), Some(&Part::Last));
    assert!(parts[1..parts.len() - 1].iter().all(|part| *part == Part::Middle));
}
