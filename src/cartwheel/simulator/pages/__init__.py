"""What customers' browsers open at the simulator: pages and a card field, served by it alone.

They load nothing from elsewhere, and their content security policy lets nothing else in.
"""
