"""What a user of Helios would write: modules of their own, and the scripts that deploy them."""
