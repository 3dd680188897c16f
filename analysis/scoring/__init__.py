"""From a store's predictions to rates and differences, with how sure they are."""
