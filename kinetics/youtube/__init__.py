"""Turns a video id into media formats and those into a clip; tells what YouTube's answers mean."""
