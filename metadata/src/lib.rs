//! What is on disk besides data: superblock, generation identifiers, activity log, out-of-sync bitmap
