//! The encoding of header fields in the proxy-wasm ABI.

use mcp_federated_auth::Field;

/// Decodes header fields: their number, the lengths of each name and value, then the names and
/// values, each with a trailing zero byte. Numbers are 32 bits, little-endian.
///
/// `None` if the bytes are malformed, which no host sends.
#[must_use]
pub(super) fn decode_fields(bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let (count, rest) = bytes.split_first_chunk()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (lengths, mut strings) = rest.split_at_checked(count.checked_mul(LENGTHS)?)?;
    let mut fields = Vec::with_capacity(count);
    for lengths in lengths.as_chunks::<LENGTHS>().0 {
        let [a, b, c, d, lengths @ ..] = *lengths;
        let mut next = |length| {
            let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
            let (text, rest) = strings.split_at_checked(length)?;
            strings = rest.strip_prefix(&[0])?;
            Some(text)
        };
        fields.push((next([a, b, c, d])?, next(lengths)?));
    }
    Some(fields)
}

/// Encodes header fields in the same form; `None` if a length exceeds 32 bits.
pub(super) fn encode_fields<T: AsRef<[u8]>>(fields: &[(T, T)]) -> Option<Vec<u8>> {
    let number = |length: usize| Some(u32::try_from(length).ok()?.to_le_bytes());
    let mut bytes = number(fields.len())?.to_vec();
    for (name, value) in fields {
        bytes.extend(number(name.as_ref().len())?);
        bytes.extend(number(value.as_ref().len())?);
    }
    for (name, value) in fields {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_ref());
            bytes.push(0);
        }
    }
    Some(bytes)
}

/// Size of the two lengths of a field in bytes.
const LENGTHS: usize = 2 * size_of::<u32>();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn fields_are_read_as_they_were_written_and_truncated_input_is_refused(
            fields in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = encode_fields(&fields).unwrap();
            let borrowed: Vec<Field<'_>> =
                fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            prop_assert_eq!(decode_fields(&bytes), Some(borrowed));
            prop_assert_eq!(decode_fields(&bytes[..cut.index(bytes.len())]), None);
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_without_harm(bytes: Vec<u8>) {
            if let Some(fields) = decode_fields(&bytes) {
                prop_assert!(8 * fields.len() < bytes.len());
            }
        }
    }

    #[test]
    fn a_field_count_beyond_the_input_is_refused() {
        for count in [1, 1000, u32::MAX] {
            assert_eq!(decode_fields(&count.to_le_bytes()), None);
        }
        let endless = [1_u32, u32::MAX, u32::MAX].map(u32::to_le_bytes).concat();
        assert_eq!(decode_fields(&endless), None);
    }
}
