//! Seals each tenant's entries into batches and anchors their roots.
