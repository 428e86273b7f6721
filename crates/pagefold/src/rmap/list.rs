//! A list of VMAs: those that map an object, or those of a family of processes.
//!
//! Guarantees: who walks the list comes to each VMA that is in it meanwhile. VMAs that are [replaced](VmaList::replace) have others in
//! their place, and one that is [added behind](VmaList::add_behind) another one comes after it.
//!
//! The caller has the semaphore of the list: for reading to walk it, for writing to change it.

use crate::handle::Ref;
use crate::platform::{Link, Platform};
use crate::vma::Vma;

/// VMAs that name each other by one of their links.
pub(crate) struct VmaList<P: Platform> {
    first: P::Link<Vma<P>>,
    /// The link of a VMA to the one behind it.
    next: fn(&Vma<P>) -> &P::Link<Vma<P>>,
}

impl<P: Platform> VmaList<P> {
    /// A list of one VMA or none.
    pub(crate) fn new(
        next: fn(&Vma<P>) -> &P::Link<Vma<P>>,
        first: Option<Ref<P, Vma<P>>>,
    ) -> Self {
        Self {
            first: P::Link::new(first),
            next,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.load_protected().is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Ref<P, Vma<P>>> + use<P> {
        let next = self.next;
        core::iter::successors(self.first.load_protected(), move |vma| {
            next(vma).load_protected()
        })
    }

    pub(crate) fn add(&self, vma: Ref<P, Vma<P>>) {
        (self.next)(&vma).store_protected(self.first.load_protected());
        self.first.store_protected(Some(vma));
    }

    /// Adds a VMA such that who walks the list comes to `other` first.
    pub(crate) fn add_behind(&self, other: Ref<P, Vma<P>>, vma: Ref<P, Vma<P>>) {
        let link = (self.next)(&other);
        (self.next)(&vma).store_protected(link.load_protected());
        link.store_protected(Some(vma));
    }

    pub(crate) fn remove(&self, vma: Ref<P, Vma<P>>) {
        self.set_link_to(vma, (self.next)(&vma).load_protected());
    }

    /// Puts VMAs in the place of the first of others, and takes the rest of those out.
    pub(crate) fn replace(
        &self,
        old: impl IntoIterator<Item = Ref<P, Vma<P>>>,
        new: &[Ref<P, Vma<P>>],
    ) {
        let mut old = old.into_iter();
        let Some(first) = old.next() else {
            return;
        };
        let mut next = (self.next)(&first).load_protected();
        for vma in new.iter().rev() {
            (self.next)(vma).store_protected(next);
            next = Some(*vma);
        }
        self.set_link_to(first, next);
        old.for_each(|other| self.remove(other));
    }

    /// Has the list name `target` where it names `vma`.
    fn set_link_to(&self, vma: Ref<P, Vma<P>>, target: Option<Ref<P, Vma<P>>>) {
        let mut next = self.first.load_protected();
        if next == Some(vma) {
            self.first.store_protected(target);
            return;
        }
        while let Some(other) = next {
            let link = (self.next)(&other);
            next = link.load_protected();
            if next == Some(vma) {
                link.store_protected(target);
                return;
            }
        }
    }
}
