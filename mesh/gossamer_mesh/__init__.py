"""The words on the wire of a Gossamer mesh, and the way to speak them."""
