"""TFLite: sequence LSTMs in float, hybrid and int8."""
