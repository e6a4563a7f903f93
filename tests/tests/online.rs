//! Real modules from the real upstream. Without `GOPROXYD_TEST_ONLINE=1` it asks nothing of the network.
