"""The ground floor: networks, losses and alignment. Knows no files except weights, no Ray, no configuration."""
