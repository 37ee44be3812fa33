"""8-bit integers: ranges from pictures, and the graph with QuantizeLinear / DequantizeLinear pairs made of them."""
