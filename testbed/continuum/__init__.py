"""Six real agents on loopback, each as fast, dear, green and far as it declares to be."""
