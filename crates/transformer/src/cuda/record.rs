//! Structs that kernels read, laid out as C lays them out.

/// A place in a card's memory; 0 is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(pub(super) u64);

impl Address {
    /// Where something optional is left out.
    pub(super) const NONE: Self = Self(0);

    /// So many f32 further; nowhere stays nowhere.
    pub(super) fn plus_floats(self, values: usize) -> Self {
        self.plus(size_of::<f32>() * values)
    }

    /// So many u64 further; nowhere stays nowhere.
    pub(super) fn plus_keys(self, values: usize) -> Self {
        self.plus(size_of::<u64>() * values)
    }

    /// So many bytes further; nowhere stays nowhere.
    pub(super) fn plus(self, bytes: usize) -> Self {
        if self == Self::NONE { self } else { Self(self.0 + bytes as u64) }
    }
}

/// What a field of a [`record!`] can be.
pub(super) trait Field: Copy {
    /// Its bytes, as many as it must be aligned to.
    const BYTES: usize;
    /// Writes so many bytes to the first of these.
    fn write(self, to: &mut [u8]);
}

/// A field that has its bytes in the host's order, which is the card's.
macro_rules! fields {
    ($($kind:ty),*) => {$(
        impl Field for $kind {
            const BYTES: usize = size_of::<Self>();

            #[inline]
            fn write(self, to: &mut [u8]) {
                to[..Self::BYTES].copy_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}
fields!(u32, u64, f32);

impl Field for Address {
    const BYTES: usize = size_of::<u64>();

    #[inline]
    fn write(self, to: &mut [u8]) {
        self.0.write(to);
    }
}

/// Writes numbers as a card gets them, to as many bytes.
pub(super) fn write_numbers<F: Field>(numbers: &[F], to: &mut [u8]) {
    for (number, to) in numbers.iter().zip(to.chunks_exact_mut(F::BYTES)) {
        number.write(to);
    }
}

/// Numbers as a card gets them.
pub(super) fn bytes_of<F: Field>(numbers: &[F]) -> Vec<u8> {
    let mut bytes = vec![0; F::BYTES * numbers.len()];
    write_numbers(numbers, &mut bytes);
    bytes
}

/// Floats as they come from a card.
pub(super) fn floats_of(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (floats, _) = bytes.as_chunks();
    floats.iter().map(|&bytes| f32::from_ne_bytes(bytes))
}

/// A struct that a kernel reads, as arguments or in a table.
pub(super) trait Record: Copy {
    /// Its name in the kernels' text.
    const NAME: &'static str;
    /// Its fields in order, with their bytes.
    const FIELDS: &'static [(&'static str, usize)];
    /// Its size, a multiple of its widest field's.
    const BYTES: usize = size_of_fields(Self::FIELDS);

    /// Writes it to so many zeros as C lays it out.
    fn write(self, to: &mut [u8]);
}

/// The size of a struct of such fields.
const fn size_of_fields(fields: &[(&str, usize)]) -> usize {
    let (mut bytes, mut widest, mut at) = (0_usize, 1, 0);
    while at < fields.len() {
        let field = fields[at].1;
        bytes = bytes.next_multiple_of(field) + field;
        widest = if field > widest { field } else { widest };
        at += 1;
    }
    bytes.next_multiple_of(widest)
}

/// Writes records one behind the other, to as many zeros as they are long.
pub(super) fn write_records<R: Record>(records: &[R], to: &mut [u8]) {
    for (record, to) in records.iter().zip(to.chunks_exact_mut(R::BYTES)) {
        record.write(to);
    }
}

/// Defines a struct and its layout; the kernels' text holds the same fields in the same order, which
/// a test compares.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub(in crate::cuda) struct $name {
            $($(#[$field_meta])* pub $field: $kind),*
        }

        impl $crate::cuda::record::Record for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [(&'static str, usize)] = &[
                $((stringify!($field), <$kind as $crate::cuda::record::Field>::BYTES)),*
            ];

            #[inline]
            fn write(self, to: &mut [u8]) {
                let mut end = 0_usize;
                $(
                    let bytes = <$kind as $crate::cuda::record::Field>::BYTES;
                    let begin = end.next_multiple_of(bytes);
                    end = begin + bytes;
                    $crate::cuda::record::Field::write(self.$field, &mut to[begin..end]);
                )*
                debug_assert!(end <= <Self as $crate::cuda::record::Record>::BYTES);
            }
        }
    };
}
pub(super) use record;
