//! The plugins that are compiled in. A crate that nobody names registers nothing, so each is named
//! here once.

use panchroma_generic as _;
use panchroma_heads as _;
use panchroma_image as _;
use panchroma_spectrum as _;
use panchroma_table as _;
use panchroma_time_series as _;
