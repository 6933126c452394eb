"""The top floor: plans and runs stages. Knows no video and no torch."""
