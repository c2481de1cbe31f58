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

    fn plus(self, bytes: usize) -> Self {
        if self == Self::NONE { self } else { Self(self.0 + bytes as u64) }
    }
}

/// What a field of a [`record!`] can be.
pub(super) trait Field: Copy {
    /// Its bytes, as many as it must be aligned to.
    fn write(self, to: &mut Vec<u8>);
    /// How many those are.
    const BYTES: usize;
}

/// A field that has its bytes in the host's order, which is the card's.
macro_rules! fields {
    ($($kind:ty),*) => {$(
        impl Field for $kind {
            const BYTES: usize = size_of::<Self>();

            fn write(self, to: &mut Vec<u8>) {
                to.extend(self.to_ne_bytes());
            }
        }
    )*};
}
fields!(u32, u64, f32);

impl Field for Address {
    const BYTES: usize = size_of::<u64>();

    fn write(self, to: &mut Vec<u8>) {
        self.0.write(to);
    }
}

/// Numbers as a card gets them.
pub(super) fn bytes_of<F: Field>(numbers: &[F]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(F::BYTES * numbers.len());
    numbers.iter().for_each(|number| number.write(&mut bytes));
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

    /// Appends it as C lays it out, the padding zero; `to` ends at a multiple of 8.
    fn write(self, to: &mut Vec<u8>);
}

/// Pads to a multiple of so many bytes.
pub(super) fn align(to: &mut Vec<u8>, bytes: usize) {
    to.resize(to.len().next_multiple_of(bytes), 0);
}

/// A table of records, as it is uploaded. Each record is a multiple of its widest field long.
pub(super) fn table<R: Record>(records: &[R]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &record in records {
        record.write(&mut bytes);
    }
    bytes
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

            fn write(self, to: &mut Vec<u8>) {
                let mut widest = 1;
                $(
                    let bytes = <$kind as $crate::cuda::record::Field>::BYTES;
                    widest = widest.max(bytes);
                    $crate::cuda::record::align(to, bytes);
                    $crate::cuda::record::Field::write(self.$field, to);
                )*
                $crate::cuda::record::align(to, widest);
            }
        }
    };
}
pub(super) use record;
