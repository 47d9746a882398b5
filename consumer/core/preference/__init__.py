"""What a customer wants next: the item index, the next item, the next basket, audiences."""
