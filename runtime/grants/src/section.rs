//! The manifest's place in a component: the custom section [`SECTION`].
//!
//! `drover plugin pack` puts it beside the component's other sections. What a
//! compiler puts into a module, as the Rust SDK has it done, the linker leaves
//! in that module inside of the component. So the section is looked for on the
//! outside first, and in the modules only if it is not there: whoever packs a
//! plugin has the last word.

use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::manifest::{MOST_BYTES, Manifest, ManifestError};

/// The name of the section.
pub const SECTION: &str = "drover:manifest";

/// Magic number and version, of modules and components alike.
const HEADER: u64 = 8;
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;

/// Why a component's manifest cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// The file is no whole component.
    #[error("its sections are damaged at byte {at}: copy or build it again")]
    Damaged {
        /// Where.
        at: u64,
    },
    /// There are two.
    #[error(
        "it has two manifests, at bytes {first} and {second}: build it with one `plugin!`, or pack it"
    )]
    Twice {
        /// Where one is.
        first: u64,
        /// Where the other is.
        second: u64,
    },
    /// The manifest is wrong.
    #[error("its manifest, {SECTION} at byte {at}, is refused")]
    Manifest {
        /// Where it is.
        at: u64,
        /// What is wrong with it.
        source: ManifestError,
    },
}

/// Why a manifest cannot be put into a file.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The bytes are no component.
    #[error("it is no component: build it with `--target wasm32-wasip2`")]
    NotAComponent,
    /// The file is no whole component.
    #[error(transparent)]
    Section(#[from] SectionError),
}

/// Reads the manifest out of a component file; none if it has none.
///
/// # Errors
///
/// If the file is damaged, or its manifest is.
pub fn read_manifest(mut file: impl Read + Seek) -> Result<Option<Manifest>, SectionError> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut file = BufReader::new(file);
    let mut outside = None;
    for_each_section(&mut file, HEADER..length, |file, section| {
        remember(file, &section, &mut outside)
    })?;
    if let Some(found) = outside {
        return parse(&mut file, found).map(Some);
    }
    let mut inside = None;
    for_each_section(&mut file, HEADER..length, |file, section| {
        if section.kind != CORE_MODULE {
            return Ok(());
        }
        let Range { start, end } = section.content;
        for_each_section(file, start.saturating_add(HEADER).min(end)..end, |file, section| {
            remember(file, &section, &mut inside)
        })
    })?;
    inside.map(|found| parse(&mut file, found)).transpose()
}

/// Puts a manifest into a component, in place of one that a former call put there.
///
/// # Errors
///
/// If the bytes are no whole component.
pub fn embed(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>, EmbedError> {
    if !component.starts_with(b"\0asm\x0d\0\x01\0") {
        return Err(EmbedError::NotAComponent);
    }
    let mut file = BufReader::new(Cursor::new(component));
    let mut packed = component[..HEADER as usize].to_vec();
    for_each_section(&mut file, HEADER..component.len() as u64, |file, section| {
        if section.kind != CUSTOM || payload(file, &section)?.is_none() {
            let Range { start, end } = section.whole;
            packed.extend_from_slice(&component[start as usize..end as usize]);
        }
        Ok(())
    })?;
    let json = manifest.to_json();
    let mut content = leb128(SECTION.len());
    content.extend_from_slice(SECTION.as_bytes());
    content.extend_from_slice(&json);
    packed.push(CUSTOM);
    packed.extend(leb128(content.len()));
    packed.extend(content);
    Ok(packed)
}

/// One section, by its place in the file.
struct Section {
    kind: u8,
    whole: Range<u64>,
    content: Range<u64>,
}

/// Visits the sections that `body` consists of, in their order.
fn for_each_section<F: Read + Seek>(
    file: &mut BufReader<F>,
    body: Range<u64>,
    mut visit: impl FnMut(&mut BufReader<F>, Section) -> Result<(), SectionError>,
) -> Result<(), SectionError> {
    let mut at = body.start;
    while at < body.end {
        go_to(file, at)?;
        let damaged = || SectionError::Damaged { at };
        let kind = byte(file)?.ok_or_else(damaged)?;
        let (size, digits) = number(file)?.ok_or_else(damaged)?;
        let start = at + 1 + digits;
        let end = start + size;
        if end > body.end {
            return Err(damaged());
        }
        visit(file, Section { kind, whole: at..end, content: start..end })?;
        at = end;
    }
    Ok(())
}

/// Keeps where the manifest is, if it is in this section.
fn remember<F: Read + Seek>(
    file: &mut BufReader<F>,
    section: &Section,
    found: &mut Option<Range<u64>>,
) -> Result<(), SectionError> {
    if section.kind != CUSTOM {
        return Ok(());
    }
    let Some(payload) = payload(file, section)? else { return Ok(()) };
    match found {
        Some(former) => Err(SectionError::Twice { first: former.start, second: payload.start }),
        None => {
            *found = Some(payload);
            Ok(())
        }
    }
}

/// Where the payload of a custom section is, if its name is [`SECTION`].
fn payload<F: Read + Seek>(
    file: &mut BufReader<F>,
    section: &Section,
) -> Result<Option<Range<u64>>, SectionError> {
    let Range { start, end } = section.content;
    go_to(file, start)?;
    let Some((length, digits)) = number(file)? else { return Ok(None) };
    let name_start = start + digits;
    if length != SECTION.len() as u64 || end.saturating_sub(name_start) < length {
        return Ok(None);
    }
    let mut name = [0; SECTION.len()];
    file.read_exact(&mut name)?;
    Ok((name == SECTION.as_bytes()).then_some(name_start + length..end))
}

fn parse<F: Read + Seek>(
    file: &mut BufReader<F>,
    Range { start: at, end }: Range<u64>,
) -> Result<Manifest, SectionError> {
    go_to(file, at)?;
    // One byte over the limit is enough to be too long.
    let most = (end - at).min(MOST_BYTES as u64 + 1);
    let mut json = Vec::new();
    file.by_ref().take(most).read_to_end(&mut json)?;
    Manifest::from_json(&json).map_err(|source| SectionError::Manifest { at, source })
}

/// Goes to a place without giving up what is buffered around it.
fn go_to<F: Read + Seek>(file: &mut BufReader<F>, place: u64) -> io::Result<()> {
    let here = file.stream_position()?;
    file.seek_relative(place.wrapping_sub(here).cast_signed())
}

/// The next byte; none at the end.
fn byte(file: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    Ok((file.read(&mut byte)? == 1).then_some(byte[0]))
}

/// Reads a number of at most 32 bits, and how many bytes it took: seven bits to
/// a byte, the lowest first. None if there is none.
fn number(file: &mut impl Read) -> io::Result<Option<(u64, u64)>> {
    let mut value = 0;
    for index in 0..5 {
        let Some(byte) = byte(file)? else { return Ok(None) };
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    Ok(None)
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn section(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind][..], &leb128(content.len()), content].concat()
    }

    fn custom(name: &str, payload: &[u8]) -> Vec<u8> {
        section(CUSTOM, &[&leb128(name.len())[..], name.as_bytes(), payload].concat())
    }

    fn described(description: &str) -> Manifest {
        Manifest { description: description.to_owned(), ..Manifest::default() }
    }

    fn read(bytes: &[u8]) -> Result<Option<String>, SectionError> {
        Ok(read_manifest(Cursor::new(bytes))?.map(|manifest| manifest.description))
    }

    #[test]
    fn a_bare_component_has_no_manifest() {
        let bare = [COMPONENT, &custom("name", b"x"), &section(7, &[0; 300])].concat();
        assert_eq!(read(&bare).unwrap(), None);
        assert_eq!(read(COMPONENT).unwrap(), None);
    }

    #[test]
    fn what_is_embedded_is_read_and_replaced() {
        let bare = [COMPONENT, &custom("name", b"x"), &section(7, &[0; 300])].concat();
        let packed = embed(&bare, &described("one")).unwrap();
        assert_eq!(read(&packed).unwrap().unwrap(), "one");
        let again = embed(&packed, &described("two")).unwrap();
        assert_eq!(read(&again).unwrap().unwrap(), "two");
        assert_eq!(again.len(), packed.len());
        assert!(again.starts_with(&bare));
    }

    #[test]
    fn a_manifest_in_a_module_counts_unless_there_is_one_outside() {
        let json = described("inside").to_json();
        let module = [MODULE, &section(1, b""), &custom(SECTION, &json)].concat();
        let component = [COMPONENT, &section(CORE_MODULE, &module)].concat();
        assert_eq!(read(&component).unwrap().unwrap(), "inside");
        let packed = embed(&component, &described("outside")).unwrap();
        assert_eq!(read(&packed).unwrap().unwrap(), "outside");
    }

    #[test]
    fn two_manifests_are_none_that_counts() {
        let one = custom(SECTION, &described("one").to_json());
        let twice = [COMPONENT, &one, &one].concat();
        assert!(matches!(read(&twice), Err(SectionError::Twice { .. })));
        let module = section(CORE_MODULE, &[MODULE, &one].concat());
        let twice = [COMPONENT, &module, &module].concat();
        assert!(matches!(read(&twice), Err(SectionError::Twice { .. })));
    }

    #[test]
    fn a_wrong_manifest_is_refused_with_its_place() {
        let bytes = [COMPONENT, &custom(SECTION, b"{\"format\":1,\"x\":1}")].concat();
        let error = read(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "its manifest, drover:manifest at byte 26, is refused");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("unknown field `x`"), "{source}");

        let bytes = [COMPONENT, &custom(SECTION, &[b' '; MOST_BYTES + 1])].concat();
        assert!(read(&bytes).is_err());
    }

    #[test]
    fn a_component_cut_anywhere_is_damaged_and_no_crash() {
        let whole = embed(&[COMPONENT, &section(7, b"ab")].concat(), &described("x")).unwrap();
        let ends_of_sections = [8, 12, whole.len()];
        for length in (8..whole.len()).filter(|length| !ends_of_sections.contains(length)) {
            assert!(
                matches!(read(&whole[..length]), Err(SectionError::Damaged { .. })),
                "{length}"
            );
        }
    }

    #[test]
    fn what_is_no_component_is_not_packed() {
        for bytes in [b"" as &[u8], MODULE, b"(component)"] {
            assert!(matches!(embed(bytes, &described("x")), Err(EmbedError::NotAComponent)));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&[COMPONENT, &bytes].concat());
            let module = section(CORE_MODULE, &[MODULE, &bytes].concat());
            let _ = read(&[COMPONENT, &module].concat());
            let _ = read(&bytes);
        }
    }
}
