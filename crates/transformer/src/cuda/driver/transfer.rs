//! Copies: between host and card beside the computation, and within the card as a part of it.

use std::marker::PhantomData;

use cudarc::driver::{CudaEvent, CudaStream};

use super::card::Card;
use super::error::CudaError;
use super::memory::{Buffer, Pinned, Plain};
use super::raw;

/// An upload that runs. The buffer can be had once the computation waits for it.
#[derive(Debug)]
#[must_use = "what is uploaded is reached by `ready`"]
pub struct Arriving {
    card: Card,
    /// The bytes that are copied, unless a page keeps them.
    parts: Option<(Buffer, Option<Pinned>, CudaEvent)>,
}

/// A download that runs. The buffer stays as it is until then.
#[derive(Debug)]
#[must_use = "what is downloaded is reached by `wait`"]
pub(crate) struct Leaving<'a> {
    card: Card,
    parts: Option<(Pinned, CudaEvent)>,
    from: PhantomData<&'a Buffer>,
}

impl Card {
    /// Copies bytes into memory of the card that is new, ahead of what is computed.
    pub(crate) fn upload(&self, from: Pinned) -> Result<Arriving, CudaError> {
        const DOING: &str = "uploading";
        self.refuse_in_capture(DOING)?;
        let (to, arrived) = (self.landing(from.len(), self.copies())?, self.event()?);
        if !from.is_empty() {
            let (bytes, len) = (from.as_ptr(), from.len());
            // SAFETY: the memory is as long. The bytes are kept by what is returned, and by the card
            // thereafter, until the event.
            let copied = unsafe { raw::upload(self.copies(), bytes, len, to.address()) };
            self.check(DOING, copied)?;
        }
        match self.note_end(DOING, from, arrived) {
            Ok((from, arrived)) => {
                Ok(Arriving { card: self.clone(), parts: Some((to, Some(from), arrived)) })
            }
            Err(error) => {
                // Nobody knows when the copy has ended.
                std::mem::forget(to);
                Err(error)
            }
        }
    }

    /// Copies what a page holds into memory of the card that is new, beside everything else. The page
    /// goes on to hold it.
    pub(crate) fn bring(&self, page: &mut Page) -> Result<Arriving, CudaError> {
        const DOING: &str = "bringing a page";
        self.refuse_in_capture(DOING)?;
        page.refuse_if_lost(DOING)?;
        let (to, arrived) = (self.landing(page.len(), self.pages())?, self.event()?);
        let copied = {
            let from = page.bytes.place();
            // SAFETY: the memory is as long. Copies of one page are in the order of their stream, and
            // its bytes are neither changed nor given back before the last of them has ended.
            unsafe { raw::upload(self.pages(), from, page.len(), to.address()) }
        };
        // Whatever comes, the page is told first that a copy runs.
        let noted = page.note_end(DOING).and_then(|()| self.check(DOING, copied));
        match noted.and_then(|()| self.check(DOING, arrived.record(self.pages()))) {
            Ok(()) => Ok(Arriving { card: self.clone(), parts: Some((to, None, arrived)) }),
            Err(error) => {
                // Nobody knows when the copy has ended.
                std::mem::forget(to);
                Err(error)
            }
        }
    }

    /// Copies what a buffer holds after all that was submitted to a page of its length, while more is
    /// computed. What is brought next may take the buffer's memory.
    ///
    /// # Errors
    /// The buffer comes back if nothing was begun.
    pub(crate) fn put_aside(
        &self,
        from: Buffer,
        page: &mut Page,
    ) -> Result<(), (Option<Buffer>, CudaError)> {
        const DOING: &str = "putting a page aside";
        let left = match self.begin_aside(DOING, &from, page) {
            Ok(left) => left,
            Err(error) => return Err((Some(from), error)),
        };
        let expected = page.len();
        let to = page.bytes.place_mut();
        // SAFETY: the memory is as long, and as above.
        let copied = unsafe { raw::download(self.pages(), from.address(), to, expected) };
        let noted = page.note_end(DOING).and_then(|()| self.check(DOING, copied));
        match noted.and_then(|()| self.check(DOING, left.record(self.pages()))) {
            Ok(()) => {
                from.give_to_uploads(left);
                Ok(())
            }
            Err(error) => {
                // As above.
                std::mem::forget(from);
                Err((None, error))
            }
        }
    }

    /// Orders a copy to a page after all that was submitted; an event for its end.
    fn begin_aside(
        &self,
        doing: &'static str,
        from: &Buffer,
        page: &Page,
    ) -> Result<CudaEvent, CudaError> {
        self.refuse_in_capture(doing)?;
        page.refuse_if_lost(doing)?;
        let (found, expected) = (from.len(), page.len());
        if found != expected {
            return Err(CudaError::Length { what: "a page", found, expected });
        }
        let (computed, left) = (self.event()?, self.event()?);
        self.order_after_computing(doing, self.pages(), &computed)?;
        self.store().give_event(computed);
        Ok(left)
    }

    /// [`Card::download`] to any memory, which the driver copies through memory of its own; waits.
    pub(crate) fn download_plainly(&self, from: &Buffer, to: &mut [u8]) -> Result<(), CudaError> {
        const DOING: &str = "downloading";
        self.refuse_in_capture(DOING)?;
        let event = self.event()?;
        self.order_after_computing(DOING, self.copies(), &event)?;
        let bytes = to.len().min(from.len());
        // SAFETY: both are as long, and the copy is waited for below while both are borrowed.
        let copied =
            unsafe { raw::download(self.copies(), from.address(), to.as_mut_ptr(), bytes) };
        self.check(DOING, copied)?;
        self.check(DOING, event.record(self.copies()))?;
        self.check(DOING, event.synchronize())?;
        self.store().give_event(event);
        Ok(())
    }

    /// [`Card::upload`] of values that lie anywhere. They pass through pinned memory, which is kept
    /// for the next upload of the size, until [`Card::trim`].
    pub(crate) fn upload_values<T: Plain>(&self, from: &[T]) -> Result<Arriving, CudaError> {
        let mut pinned = self.pinned(size_of_val(from))?;
        pinned.values_mut().copy_from_slice(from);
        self.upload(pinned)
    }

    /// Copies what a buffer holds after all that was submitted, while more is computed. Until that
    /// was waited for, nothing may be submitted that writes it.
    pub(crate) fn download<'a>(&self, from: &'a Buffer) -> Result<Leaving<'a>, CudaError> {
        const DOING: &str = "downloading";
        self.refuse_in_capture(DOING)?;
        let mut to = self.pinned(from.len())?;
        let event = self.event()?;
        self.order_after_computing(DOING, self.copies(), &event)?;
        if !to.is_empty() {
            let (bytes, len) = (to.as_mut_ptr(), to.len());
            // SAFETY: the memory is as long. The bytes are reached only after the event below.
            let copied = unsafe { raw::download(self.copies(), from.address(), bytes, len) };
            self.check(DOING, copied)?;
        }
        let parts = Some(self.note_end(DOING, to, event)?);
        Ok(Leaving { card: self.clone(), parts, from: PhantomData })
    }

    /// Orders what a stream is given from now on after all that was submitted for computing.
    fn order_after_computing(
        &self,
        doing: &'static str,
        stream: &CudaStream,
        event: &CudaEvent,
    ) -> Result<(), CudaError> {
        self.check(doing, event.record(self.compute()))?;
        self.check(doing, stream.wait(event))
    }

    /// Records where a copy ends. Where that cannot be known, its memory of the host is never used
    /// again.
    fn note_end(
        &self,
        doing: &'static str,
        pinned: Pinned,
        event: CudaEvent,
    ) -> Result<(Pinned, CudaEvent), CudaError> {
        match self.check(doing, event.record(self.copies())) {
            Ok(()) => Ok((pinned, event)),
            Err(error) => {
                std::mem::forget(pinned);
                Err(error)
            }
        }
    }

    /// Copies one buffer into another of the same length, in the order of what is computed.
    pub(crate) fn copy(&self, from: &Buffer, to: &mut Buffer) -> Result<(), CudaError> {
        if from.len() != to.len() {
            let (found, expected) = (to.len(), from.len());
            return Err(CudaError::Length { what: "the target of a copy", found, expected });
        }
        if from.len() == 0 {
            return Ok(());
        }
        self.bind()?;
        let (source, target) = (from.address(), to.address());
        // SAFETY: two buffers are of one length and never the same memory.
        let copied = unsafe { raw::copy(self.compute(), source, target, from.len()) };
        self.check("copying", copied)
    }

    /// Sets every byte of a buffer to 0, in the order of what is computed.
    pub(crate) fn clear(&self, buffer: &mut Buffer) -> Result<(), CudaError> {
        if buffer.len() == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the buffer is so long.
        let cleared = unsafe { raw::clear(self.compute(), buffer.address(), buffer.len()) };
        self.check("clearing", cleared)
    }
}

/// Bytes of the host that stay while copies to a card and back come and go.
#[derive(Debug)]
pub struct Page {
    card: Card,
    bytes: PageBytes,
    /// Where the last copy ends; made with the page, so that copies need no memory for it.
    end: CudaEvent,
    /// Whether there was one.
    is_copied: bool,
}

/// Where a page's bytes are.
#[derive(Debug)]
enum PageBytes {
    /// In memory that copies run from and to by themselves.
    Pinned(Pinned),
    /// In any memory, where no more can be pinned: the driver copies it before it answers.
    Plain(Vec<u8>),
    /// Nobody knows when the last copy ends: they are never used again.
    Lost,
}

impl PageBytes {
    fn held(&self) -> &[u8] {
        match self {
            Self::Pinned(bytes) => bytes,
            Self::Plain(bytes) => bytes,
            Self::Lost => &[],
        }
    }

    fn place(&self) -> *const u8 {
        self.held().as_ptr()
    }

    fn place_mut(&mut self) -> *mut u8 {
        match self {
            Self::Pinned(bytes) => bytes.as_mut_ptr(),
            Self::Plain(bytes) => bytes.as_mut_ptr(),
            Self::Lost => std::ptr::null_mut(),
        }
    }
}

impl Page {
    /// New memory with a copy of these bytes; pinned, if it can be.
    pub(crate) fn new(card: &Card, from: &[u8]) -> Result<Self, CudaError> {
        let bytes = match card.pinned(from.len()) {
            Ok(mut pinned) => {
                pinned.copy_from_slice(from);
                PageBytes::Pinned(pinned)
            }
            Err(CudaError::OutOfHostMemory { .. }) => PageBytes::Plain(from.to_vec()),
            Err(error) => return Err(error),
        };
        Ok(Self { card: card.clone(), bytes, end: card.event()?, is_copied: false })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.held().len()
    }

    /// The bytes, once the last copy has ended.
    pub(crate) fn wait(&self) -> Result<&[u8], CudaError> {
        const DOING: &str = "waiting for a page";
        self.refuse_if_lost(DOING)?;
        if self.is_copied {
            self.card.check(DOING, self.end.synchronize())?;
        }
        Ok(self.bytes.held())
    }

    fn refuse_if_lost(&self, doing: &'static str) -> Result<(), CudaError> {
        match self.bytes {
            PageBytes::Pinned(_) | PageBytes::Plain(_) => Ok(()),
            PageBytes::Lost => Err(CudaError::Refused { doing, code: "it is lost".to_owned() }),
        }
    }

    /// Records where a copy ends.
    fn note_end(&mut self, doing: &'static str) -> Result<(), CudaError> {
        self.is_copied = true;
        let recorded = self.card.check(doing, self.end.record(self.card.pages()));
        if recorded.is_err() {
            std::mem::forget(std::mem::replace(&mut self.bytes, PageBytes::Lost));
        }
        recorded
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let bytes = std::mem::replace(&mut self.bytes, PageBytes::Lost);
        // Copies from and to it may still run.
        if self.is_copied && self.end.synchronize().is_err() {
            std::mem::forget(bytes);
        }
    }
}

impl Arriving {
    /// The buffer, for work that is submitted from now on, which waits on the card for the copy.
    pub(crate) fn ready(mut self) -> Result<Buffer, CudaError> {
        self.card.refuse_in_capture("waiting for an upload")?;
        let (buffer, pinned, arrived) = self.parts.take().expect("only this and drop take them");
        let ordered = self.card.compute().wait(&arrived);
        self.card.store().give_arrived(arrived, pinned);
        self.card.check("ordering work after an upload", ordered)?;
        Ok(buffer)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some((buffer, pinned, arrived)) = self.parts.take() {
            // Nobody wants it, and before its memory is given back the copy must have ended, or the
            // card be gone.
            let _ = arrived.synchronize();
            self.card.store().give_arrived(arrived, pinned);
            drop(buffer);
        }
    }
}

impl Leaving<'_> {
    /// Waits until the bytes are there.
    pub(crate) fn wait(mut self) -> Result<Pinned, CudaError> {
        let (pinned, event) = self.parts.take().expect("only this and drop take them");
        let waited = event.synchronize();
        if let Err(error) = waited {
            self.card.store().give_leaving(event, pinned);
            return self.card.check("waiting for a download", Err(error));
        }
        self.card.store().give_event(event);
        Ok(pinned)
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some((pinned, event)) = self.parts.take() {
            // The buffer may be written after this.
            let _ = event.synchronize();
            self.card.store().give_leaving(event, pinned);
        }
    }
}
