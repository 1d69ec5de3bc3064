from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "conversations"

    def ready(self) -> None:
        from conversations import receivers, tag_conditions, taggables

        receivers.connect()
        taggables.connect()
        tag_conditions.connect()
